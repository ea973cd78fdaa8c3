"""Downloads, against a small server on this machine."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from groupcam.errors import WeightsUnavailableError
from groupcam.models.hub import UrlFile

REPOSITORY = "timm/test_resnet.r160_in1k"
COMMIT = "0" * 40


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by path; when `mode` is "cut" they break off, when "down" none is given."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.mode = "up"
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        self.server.seen.append(f"{self.server.mode} {self.command}")
        if self.path.startswith("/mode/"):
            self.server.mode = self.path.removeprefix("/mode/")
            self.server.files[self.path] = b""
        elif self.server.mode == "down":
            self.close_connection = True
            return
        content = self.server.files.get(self.path)
        if content is None or "Range" in self.headers:
            self.send_response(404 if content is None else 503)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(content[: len(content) // 2] if self.server.mode == "cut" else content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_web_file_is_downloaded_once_with_progress(server: Server, torch_home: Path) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server.files[f"/models/{name}"] = content
    file = UrlFile(f"{server.url}/models/{name}")
    steps: list[tuple[str, int, int]] = []

    assert file.cached() is None
    path = file.download(lambda *step: steps.append(step))

    assert path == file.cached() == torch_home / name
    assert path.read_bytes() == content
    assert steps == [(f"Downloading {name}", done, len(content)) for done in (1 << 20, 2 << 20)]


def test_cut_web_file_is_reported_and_leaves_nothing(server: Server, torch_home: Path) -> None:
    server.files["/net.pth"] = b"x" * 1000
    server.mode = "cut"

    with pytest.raises(WeightsUnavailableError, match=r"from 127.0.0.1:\d+ \(.*500"):
        UrlFile(f"{server.url}/net.pth").download()
    assert list(torch_home.iterdir()) == []


def test_altered_web_file_is_refused(server: Server, torch_home: Path) -> None:
    server.files["/net-12345678.pth"] = b"x" * 1000

    with pytest.raises(WeightsUnavailableError, match="SHA-256 does not begin with 12345678"):
        UrlFile(f"{server.url}/net-12345678.pth").download()
    assert list(torch_home.iterdir()) == []


def test_missing_web_file_is_reported(server: Server, torch_home: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match="HTTP Error 404"):
        UrlFile(f"{server.url}/net.pth").download()


def test_server_that_is_down_is_reported(torch_home: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match=r"127.0.0.1:9 .*refused"):
        UrlFile("http://127.0.0.1:9/net.pth").download()


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
