"""Downloads, against a small server on this machine."""

import contextlib
import errno
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from groupcam.errors import Cancelled, WeightsUnavailableError
from groupcam.models import downloads, load_backbone
from groupcam.models.hub import HubFile, UrlFile
from tests.support import ROOT

REPOSITORY = "timm/test_resnet.r160_in1k"
COMMIT = "0" * 40
CONTENT = bytes(range(256)) * 2048  # 512 KiB
HASHED = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by path, in the way of `mode` unless `plan` has another for the next GET.

    up: all of it; cut: half of what was asked for; stall: half, then silence; down: no answer;
    slow: an eighth every tenth of a second; digits: that HTTP status.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.mode = "up"
        self.plan: list[str] = []
        self.ranges = True  # whether it understands them
        self.seen: list[str] = []
        self.wanted: list[str | None] = []  # the ranges that were asked for
        self.released = threading.Event()  # ends all silence

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(self.server.mode, with_body=False)

    def do_GET(self) -> None:
        self.server.wanted.append(self.headers.get("Range"))
        plan = self.server.plan
        self.answer(plan.pop(0) if plan else self.server.mode, with_body=True)

    def answer(self, mode: str, with_body: bool) -> None:
        self.server.seen.append(f"{mode} {self.command}")
        if self.path.startswith("/mode/"):
            self.server.mode = self.path.removeprefix("/mode/")
            self.server.files[self.path] = b""
        elif mode == "down":
            self.close_connection = True
            return
        content = self.server.files.get(self.path)
        if content is None or mode.isdigit():
            self.send_response(404 if content is None else int(mode))
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, total = 0, len(content)
        if self.server.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            half = start + (total - start) // 2
            if mode == "slow":
                for part in range(start, total, total // 8):
                    self.wfile.write(content[part : part + total // 8])
                    self.wfile.flush()
                    time.sleep(0.1)
                return
            self.wfile.write(content[start : half if mode in ("cut", "stall") else total])
            if mode == "stall":
                self.wfile.flush()
                self.server.released.wait(60)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def hub_cache(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub client's cache, its hub being the server."""
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "RETRY_DELAYS_S", (0.01, 0.01))


@pytest.fixture(params=["web", "hub"])
def file(
    request: pytest.FixtureRequest, server: Server, torch_home: Path, hub_cache: Path
) -> UrlFile | HubFile:
    """A file of either kind with `CONTENT`."""
    if request.param == "web":
        server.files[f"/models/{HASHED}"] = CONTENT
        return UrlFile(f"{server.url}/models/{HASHED}")
    server.files[f"/{REPOSITORY}/resolve/main/model.safetensors"] = CONTENT
    return HubFile(REPOSITORY, ("model.safetensors",))


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.part"))


def test_file_is_downloaded_once_with_progress(file: UrlFile | HubFile, server: Server) -> None:
    steps: list[tuple[str, int, int]] = []

    assert file.cached() is None
    path = file.download(lambda *step: steps.append(step))

    assert path == file.cached()
    assert path.read_bytes() == CONTENT
    done = [step[1] for step in steps]
    assert done == sorted(done)
    what = HASHED if isinstance(file, UrlFile) else REPOSITORY
    assert steps[-1] == (f"Downloading {what}", len(CONTENT), len(CONTENT))
    assert server.wanted == [None]


def test_web_file_leaves_nothing_beside_it(server: Server, torch_home: Path) -> None:
    server.files["/net.pth"] = CONTENT

    UrlFile(f"{server.url}/net.pth").download()

    assert [path.name for path in torch_home.iterdir()] == ["net.pth"]


@pytest.mark.parametrize("failure", ["cut", "503", "down"])
def test_passing_failure_is_tried_again(
    failure: str, file: UrlFile | HubFile, server: Server
) -> None:
    server.plan = [failure, failure]

    assert file.download().read_bytes() == CONTENT

    assert len(server.wanted) == 3
    if failure == "cut":
        quarters = (len(CONTENT) // 2, len(CONTENT) * 3 // 4)
        assert server.wanted == [None, *(f"bytes={start}-" for start in quarters)]


@pytest.mark.parametrize("status", ["401", "403", "404", "416"])
def test_refusal_is_not_tried_again(status: str, server: Server, torch_home: Path) -> None:
    server.files["/net.pth"] = CONTENT
    server.mode = status

    with pytest.raises(WeightsUnavailableError, match=f"HTTP Error {status}"):
        UrlFile(f"{server.url}/net.pth").download()
    assert len(server.seen) == 1


def test_cut_download_continues_where_it_stopped(
    file: UrlFile | HubFile, server: Server, tmp_path: Path
) -> None:
    server.mode = "cut"
    server.plan = ["cut", "down", "down"]
    with pytest.raises(WeightsUnavailableError, match=r"0\.3 MB have arrived and are kept"):
        file.download()
    (part,) = parts(tmp_path)
    assert part.read_bytes() == CONTENT[: len(CONTENT) // 2]
    assert file.cached() is None
    server.mode, server.wanted = "up", []
    steps: list[int] = []

    path = file.download(lambda _, done, total: steps.append(done))

    assert path.read_bytes() == CONTENT
    assert server.wanted == [f"bytes={len(CONTENT) // 2}-"]
    assert min(step for step in steps if step) == len(CONTENT) // 2
    assert parts(tmp_path) == []


@pytest.mark.parametrize("ranges", [True, False], ids=["other content", "no ranges"])
def test_download_begins_anew_where_it_cannot_continue(
    ranges: bool, server: Server, torch_home: Path
) -> None:
    file = UrlFile(f"{server.url}/net.pth")
    server.files["/net.pth"] = CONTENT
    server.plan = ["cut", "404", "404"]
    with pytest.raises(WeightsUnavailableError):
        file.download()
    assert len(parts(torch_home)) == 1
    server.ranges = ranges
    later = CONTENT[::-1] if ranges else CONTENT
    server.files["/net.pth"] = later

    assert file.download().read_bytes() == later
    assert [path.name for path in torch_home.iterdir()] == ["net.pth"]


def test_silence_ends_in_an_error(
    file: UrlFile | HubFile, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STALL_S", 0.3)
    server.plan = ["stall"] * 3

    with pytest.raises(WeightsUnavailableError, match=r"no answer for 0\.3 s\).* are kept"):
        file.download()
    assert file.download().read_bytes() == CONTENT


def test_download_is_stopped_at_once_in_silence_and_continues_later(
    file: UrlFile | HubFile, server: Server
) -> None:
    server.plan = ["stall"]
    silent_since: list[float] = []

    def progress(_: str, done: int, total: int) -> None:
        if done == len(CONTENT) // 2:
            silent_since.append(time.monotonic())
            if len(silent_since) == 3:  # after two reports without news
                raise Cancelled

    with pytest.raises(Cancelled):
        file.download(progress)
    assert time.monotonic() - silent_since[0] < 5  # two ticks; far from the 10 s of patience
    server.wanted = []

    assert file.download().read_bytes() == CONTENT
    assert server.wanted == [f"bytes={len(CONTENT) // 2}-"]


def test_two_downloads_of_one_file_fetch_it_once(file: UrlFile | HubFile, server: Server) -> None:
    server.plan = ["stall"]
    waiting = threading.Event()
    paths: list[Path] = []

    def first(_: str, done: int, total: int) -> None:
        if done:
            waiting.set()

    def download() -> None:
        paths.append(file.download(first))

    threads = [threading.Thread(target=download) for _ in range(2)]
    threads[0].start()
    assert waiting.wait(30)
    threads[1].start()
    server.released.set()  # the stalled answer ends, half of it missing
    for thread in threads:
        thread.join(30)

    assert paths == [file.cached()] * 2
    assert server.wanted == [None, f"bytes={len(CONTENT) // 2}-"]


def test_altered_file_is_refused_and_not_kept(
    file: UrlFile | HubFile, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = server.files
    with monkeypatch.context() as patch:
        if isinstance(file, UrlFile):
            patch.setitem(server.files, path, CONTENT[::-1])
        else:
            send_header = Handler.send_header
            promised = f'"{"1" * 64}"'
            patch.setattr(
                Handler,
                "send_header",
                lambda self, key, value: send_header(
                    self, key, promised if key == "ETag" else value
                ),
            )

        with pytest.raises(WeightsUnavailableError, match="SHA-256 does not begin with"):
            file.download()
    assert file.cached() is None
    assert parts(tmp_path) == []
    assert file.download().read_bytes() == CONTENT


def test_full_disk_is_reported_and_freed(
    file: UrlFile | HubFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk(io.FileIO):
        def write(self, data: Any, /) -> int:
            super().write(data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open

    def open_(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        is_part = path.suffix == ".part" and "r" not in mode
        return FullDisk(path, mode) if is_part else opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", open_)

    with pytest.raises(
        WeightsUnavailableError, match=r"\(0\.5 MB\) must fit .* is full, .*removed"
    ):
        file.download()
    assert parts(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("401", "HTTP Error 401: access is refused.*log in"),
        ("403", "HTTP Error 403: access is refused.*log in"),
        ("404", "HTTP Error 404: there is no such file"),
        ("500", "HTTP Error 500: the server is out of order"),
        ("down", "Server disconnected"),
    ],
)
@pytest.mark.usefixtures("hub_cache")
def test_hub_that_does_not_give_weights_is_reported_with_what_is_ready(
    mode: str, reason: str, server: Server
) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        server.files[f"/{REPOSITORY}/resolve/main/{name}"] = CONTENT
    server.mode = mode

    with pytest.raises(
        WeightsUnavailableError, match=rf"timm/test_resnet: .*{reason}.*ready offline \(timm/"
    ):
        load_backbone("timm/test_resnet")


def test_nobody_waits_for_room_while_weights_arrive(server: Server, hub_cache: Path) -> None:
    """A slow hub must not keep others from building their networks."""
    content = safetensors.torch.save(timm.create_model("test_resnet").state_dict())
    server.files[f"/{REPOSITORY}/resolve/main/model.safetensors"] = content
    requests: list[int] = []

    @contextlib.contextmanager
    def room() -> Iterator[None]:
        requests.append(len(server.seen))
        yield
        requests.append(len(server.seen))

    load_backbone("timm/test_resnet", room=room())

    assert requests[0] == requests[1] > 0


@pytest.mark.parametrize("broken", [b"<html>" * 1000, b""], ids=["page", "empty"])
def test_broken_hub_file_is_removed_so_that_the_next_try_downloads_anew(
    broken: bytes, server: Server, hub_cache: Path
) -> None:
    path = f"/{REPOSITORY}/resolve/main/model.safetensors"
    server.files[path] = broken

    with pytest.raises(WeightsUnavailableError, match=r"must be complete.*removed from the cache"):
        load_backbone("timm/test_resnet")
    server.files[path] = safetensors.torch.save(timm.create_model("test_resnet").state_dict())

    assert load_backbone("timm/test_resnet").weights.source == "hub"


def test_cached_hub_file_that_was_altered_is_removed(server: Server, hub_cache: Path) -> None:
    content = safetensors.torch.save(timm.create_model("test_resnet").state_dict())
    server.files[f"/{REPOSITORY}/resolve/main/model.safetensors"] = content
    load_backbone("timm/test_resnet")
    (blob,) = hub_cache.rglob(hashlib.sha256(content).hexdigest())
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(WeightsUnavailableError, match=r"SHA-256 differs.*removed from the cache"):
        load_backbone("timm/test_resnet")

    assert not blob.exists()
    assert load_backbone("timm/test_resnet").weights.sha256 == blob.name


def test_server_that_is_down_is_reported(torch_home: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match=r"127.0.0.1:9 .*refused"):
        UrlFile("http://127.0.0.1:9/net.pth").download()


FETCH = """
import sys
from groupcam.models.hub import UrlFile
UrlFile(sys.argv[1]).download(lambda _, done, total: print(done, flush=True))
"""


def test_a_process_that_is_killed_while_it_downloads_leaves_what_the_next_goes_on_with(
    server: Server, torch_home: Path
) -> None:
    server.files["/net.pth"] = CONTENT
    server.plan = ["stall"]
    half = len(CONTENT) // 2
    command = [sys.executable, "-c", FETCH, f"{server.url}/net.pth"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == half:
                break
        process.kill()
    assert parts(torch_home)[0].stat().st_size <= half
    kept = parts(torch_home)[0].stat().st_size
    server.wanted = []

    assert UrlFile(f"{server.url}/net.pth").download().read_bytes() == CONTENT

    assert server.wanted == [f"bytes={kept}-" if kept else None]
    assert [path.name for path in torch_home.iterdir()] == ["net.pth"]


def test_a_slow_hub_is_waited_for(
    server: Server, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STALL_S", 0.4)
    server.files["/net.pth"] = CONTENT
    server.mode = "slow"
    steps: list[int] = []
    begun = time.monotonic()

    path = UrlFile(f"{server.url}/net.pth").download(lambda _, done, total: steps.append(done))

    assert path.read_bytes() == CONTENT
    assert time.monotonic() - begun > 0.4
    assert len(set(steps)) > 4


# The hub client reads its address and cache folder when it is imported: hence a process, and
# one for all: most of its time goes into imports.
LOAD = """
import json, os, time, urllib.request
from groupcam.errors import WeightsUnavailableError
from groupcam.models import list_backbones, load_backbone

def attempt(mode):
    urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/mode/" + mode).close()
    steps = []
    started = time.monotonic()
    try:
        backbone = load_backbone("timm/test_resnet", progress=lambda *step: steps.append(step))
        outcome = [backbone.weights.source, backbone.weights.tag, backbone.weights.sha256]
        outcome.append(next(backbone.network.parameters()).flatten()[0].item())
    except WeightsUnavailableError as error:
        outcome = str(error)
    seconds = time.monotonic() - started
    (entry,) = list_backbones("timm/test_resnet")
    return dict(outcome=outcome, steps=steps, seconds=seconds, ready=entry.ready_offline)

print(json.dumps([attempt(mode) for mode in ("down", "cut", "up", "down")]))
"""


def test_hub_weights_from_a_hub_that_is_down_then_cuts_then_works(
    server: Server, tmp_path: Path
) -> None:
    torch.manual_seed(11)
    state = timm.create_model("test_resnet").state_dict()
    content = safetensors.torch.save(state)
    server.files[f"/{REPOSITORY}/resolve/main/model.safetensors"] = content

    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert done.returncode == 0, done.stderr
    down, cut, up, cached = json.loads(done.stdout.splitlines()[-1])
    for failed in (down, cut):
        assert failed["outcome"].startswith(
            "timm/test_resnet: The weights could not be downloaded from 127.0.0.1"
        )
        assert "ready offline (timm/tf_efficientnet_lite0, " in failed["outcome"]
        assert failed["seconds"] < 15
        assert not failed["ready"]

    loaded = ["hub", "r160_in1k", hashlib.sha256(content).hexdigest()]
    first_value = next(iter(state.values())).flatten()[0].item()
    assert up["outcome"] == cached["outcome"] == [*loaded, pytest.approx(first_value)]
    assert up["steps"][-1] == [f"Downloading {REPOSITORY}", len(content), len(content)]
    assert up["ready"]
    # What is in the cache asks nobody: the last request is the one that set the mode.
    assert cached["steps"] == []
    assert server.seen[-1] == "up GET"
    assert cached["seconds"] < 5
