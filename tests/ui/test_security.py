"""What the running app does with requests that no page of ours sends; see SECURITY.md."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from groupcam.errors import WeightsUnavailableError
from groupcam.models.hub import HubFile
from groupcam.models.pool import BackboneKey
from groupcam.saliency import engine
from groupcam.share.lessons import LESSONS
from groupcam.ui import launch_options
from groupcam.ui.page import Page
from groupcam.ui.workbench import QUOTED_FOLDERS, Workbench
from tests.support import ROOT

ENDPOINTS = ["predict", "explain", "curves", "compare"]
META = {"meta": {"_type": "gradio.FileData"}}
WAIT_S = 60


@pytest.fixture(scope="module")
def inner() -> Iterator[tuple[int, list[str]]]:
    """A server that only this machine reaches: its port, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"inner secret")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def config(url: str) -> dict[str, Any]:
    """What Gradio tells every browser of the page."""
    told: dict[str, Any] = httpx.get(f"{url}/config", timeout=WAIT_S).json()
    return told


def answer_of(url: str, name: str, parameters: dict[str, Any]) -> str:
    """Call an endpoint by the names of its parameters; return all that comes back."""
    joined = httpx.post(f"{url}/gradio_api/call/v2/{name}", json=parameters, timeout=WAIT_S)
    if joined.status_code != 200:
        return joined.text
    event_id = joined.json()["event_id"]
    return httpx.get(f"{url}/gradio_api/call/{name}/{event_id}", timeout=WAIT_S).text


def raw(
    url: str, config: dict[str, Any], event: str, data: list[Any], payload: Any
) -> httpx.Response:
    """Set off the first private event of this name, as a script of ours would not."""
    dependency = next(
        one for one in config["dependencies"] if any(name == event for _, name in one["targets"])
    )
    content = {
        "data": data,
        "event_data": payload,
        "fn_index": dependency["id"],
        "trigger_id": dependency["targets"][0][0],
        "session_hash": "somebody",
    }
    address = f"{url}/gradio_api/run/{dependency['api_name'] or 'predict'}"
    # By hand: lone surrogates are JSON, but no text that a client would encode.
    body = json.dumps(content).encode()
    return httpx.post(
        address, content=body, headers={"Content-Type": "application/json"}, timeout=WAIT_S
    )


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
@pytest.mark.parametrize("form", ["path", "url", "both"])
def test_no_inner_address_in_a_files_description_is_asked(
    url: str, inner: tuple[int, list[str]], host: str, form: str
) -> None:
    port, asked = inner
    address = f"http://{host}:{port}/{form}"
    image = {
        **({"path": address} if form != "url" else {}),
        **({"url": address} if form != "path" else {}),
        **META,
    }

    for name in ENDPOINTS:
        text = answer_of(url, name, {"image": image})
        assert "inner secret" not in text
        assert "Traceback" not in text
    assert asked == []


@pytest.mark.parametrize(
    "route", ["file=", "proxy=", "stream/", "file/", "custom_component/", "deep_link?x="]
)
def test_no_route_of_the_server_fetches_an_inner_address(
    url: str, inner: tuple[int, list[str]], route: str
) -> None:
    port, asked = inner

    for host in ("127.0.0.1", "localhost", "[::1]"):
        answer = httpx.get(f"{url}/gradio_api/{route}http://{host}:{port}/x", timeout=WAIT_S)
        assert answer.status_code >= 400
        assert "inner secret" not in answer.text
    assert asked == []


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", str(ROOT / "README.md"), "README.md", "../../../../etc/passwd"),
        *(
            "%2e%2e/%2e%2e/etc/passwd",
            "file:///etc/passwd",
            "\\\\host\\share",
            ".env",
            "/proc/self/environ",
        ),
    ],
)
def test_no_file_of_the_server_is_served(url: str, path: str) -> None:
    for route in ("gradio_api/file=", "gradio_api/file/", "assets/", "static/", "svelte/"):
        answer = httpx.get(f"{url}/{route}{path}", timeout=WAIT_S)
        assert answer.status_code >= 400 or "root:" not in answer.text
        assert "groupcam" not in answer.text.replace(path, "")


@pytest.mark.parametrize(
    "serial",
    [
        {"path": "README.md", **META},
        {"path": "/etc/passwd", **META},
        {"path": "http://127.0.0.1:1/x", **META},
        {"path": "x", "url": "http://127.0.0.1:1/x", "orig_name": "x", **META},
        ["\ud800"],
    ],
    ids=str,
)
def test_an_answer_never_sends_back_what_gradio_would_make_a_file_of(
    url: str, config: dict[str, Any], serial: Any
) -> None:
    payload = {"lesson": LESSONS[0].name, "option": 0, "serial": serial}

    answer = raw(url, config, "ask", ["inferno"], payload)

    if answer.status_code == 200:
        assert answer.json()["data"][0]["serial"] is None
    assert "/gradio_api/file=" not in answer.text
    assert "Traceback" not in answer.text


def test_uploaded_markup_comes_back_as_a_file_to_keep(url: str) -> None:
    for name, kind in (
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.js", "text/javascript"),
    ):
        files = {"files": (name, b"<script>alert(1)</script>", kind)}
        (path,) = httpx.post(f"{url}/gradio_api/upload", files=files, timeout=WAIT_S).json()
        answer = httpx.get(f"{url}/gradio_api/file={path}", timeout=WAIT_S)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"].startswith("application/octet-stream")


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/cron.d/evil", "a/../../b.png", "con\r\nX: y.png"]
)
def test_an_uploads_name_leads_nowhere_else(url: str, name: str) -> None:
    (path,) = httpx.post(
        f"{url}/gradio_api/upload", files={"files": (name, b"x", "image/png")}, timeout=WAIT_S
    ).json()

    folders = Path(path).parent.parts
    assert ".." not in folders
    assert "cron.d" not in folders
    assert Path(path).is_file()


def test_a_file_above_the_limit_is_not_taken(url: str) -> None:
    content = bytes(101 * 2**20)

    answer = httpx.post(
        f"{url}/gradio_api/upload", files={"files": ("a.png", content)}, timeout=WAIT_S
    )

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "route", ["queue/join", "call/layers", "call/v2/layers", "run/layers", "cancel", "reset"]
)
@pytest.mark.parametrize("how", ["told", "in pieces"])
def test_a_body_above_the_limit_is_not_read(url: str, route: str, how: str) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield b'{"data": ["'
        for _ in range(64):
            sent += 1
            yield b"x" * 2**20
        yield b'"]}'

    headers = {"Content-Type": "application/json"}
    if how == "told":
        headers["Content-Length"] = str(11 + 64 * 2**20 + 3)
    try:
        answer = httpx.post(
            f"{url}/gradio_api/{route}", content=pieces(), headers=headers, timeout=WAIT_S
        )
    except httpx.WriteError:  # the server answered and hung up before it had all
        assert sent < 64
    else:
        assert answer.status_code == 413
        assert "at most 16,777,216 bytes" in answer.text
    assert httpx.get(f"{url}/config", timeout=WAIT_S).status_code == 200


def test_many_files_in_one_upload_are_not_taken(url: str) -> None:
    files = [("files", (f"{number}.png", bytes(60 * 10**6))) for number in range(2)]

    answer = httpx.post(f"{url}/gradio_api/upload", files=files, timeout=WAIT_S)

    assert answer.status_code == 413
    assert "at most 101,048,576 bytes" in answer.text


@pytest.mark.parametrize("route", ["process_recording", "component_server", "deep_link"])
@pytest.mark.parametrize("end", ["", "/", "?session_hash=somebody"])
def test_doors_of_gradio_that_no_page_of_ours_uses_are_shut(url: str, route: str, end: str) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, f"{url}/gradio_api/{route}{end}", timeout=WAIT_S)

        assert answer.status_code == 404


# --- what is told --------------------------------------------------------------------------------


def test_nothing_that_every_browser_gets_names_a_folder_of_the_server(url: str) -> None:
    for route in ("config", "gradio_api/info", "gradio_api/openapi.json", ""):
        text = httpx.get(f"{url}/{route}", timeout=WAIT_S).text
        assert str(ROOT) not in text, route


@pytest.mark.parametrize(
    "route", ["monitoring", "monitoring/summary", "gradio_api/run-history/buckets"]
)
def test_figures_and_tools_of_the_operator_are_closed(url: str, route: str) -> None:
    assert httpx.get(f"{url}/{route}", timeout=WAIT_S).status_code >= 400


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("select", None),
        ("select", {}),
        ("select", []),
        ("select", {"value": 5}),
        ("select", {"index": {}, "value": "\ud800"}),
        ("pick", None),
        ("pick", {"name": {"path": "README.md"}}),
        ("pick", {"name": "x" * 5000}),
    ],
    ids=str,
)
def test_a_raw_event_is_answered_without_traceback(
    url: str, config: dict[str, Any], event: str, payload: Any
) -> None:
    answer = raw(url, config, event, [], payload)

    assert answer.headers["content-type"].startswith("application/json")
    assert "Traceback" not in answer.text
    assert str(ROOT) not in answer.text


@pytest.mark.parametrize(
    "parameters",
    [
        {"backbone": "\ud800"},
        {"backbone": "timm/\x00"},
        {"backbone": ["x"] * 1000},
        {"backbone": {"a": 1}},
    ],
    ids=str,
)
def test_an_error_over_http_is_a_sentence(url: str, parameters: dict[str, Any]) -> None:
    body = json.dumps(parameters).encode()
    headers = {"Content-Type": "application/json"}
    joined = httpx.post(
        f"{url}/gradio_api/call/v2/layers", content=body, headers=headers, timeout=WAIT_S
    )
    event_id = joined.json()["event_id"]

    text = httpx.get(f"{url}/gradio_api/call/layers/{event_id}", timeout=WAIT_S).text

    assert "event: error" in text
    assert "backbone" in text
    assert "Traceback" not in text
    assert len(text) < 2000


@pytest.mark.parametrize(
    ("route", "named"),
    [("layers", "backbon"), ("layers", "x" * 10_000), ("no-such-endpoint", "backbone")],
    ids=["wrong parameter", "long parameter", "wrong endpoint"],
)
def test_a_call_by_a_wrong_name_is_told(url: str, route: str, named: str) -> None:
    address = f"{url}/gradio_api/call/v2/{route}"

    answer = httpx.post(address, json={named: "timm/tf_efficientnet_lite0"}, timeout=WAIT_S)

    assert answer.status_code == 422
    assert "No such endpoint or parameter" in answer.text
    assert len(answer.text) < 1000


def test_a_visitor_is_not_told_where_the_cache_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator reads it in the log, and on the command line."""
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    monkeypatch.setattr(HubFile, "cached", lambda self: broken)
    monkeypatch.setattr(engine, "prepare_in_background", lambda backbone: None)

    with pytest.raises(WeightsUnavailableError) as error:
        Workbench().load(BackboneKey("timm/test_resnet"))

    assert "model.safetensors" in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_folders_are_taken_out_of_messages() -> None:
    text = "The weights 'a' in '/home/app/b/c.pth' must fit 'C:\\Users\\d\\e.pth'; 'f' 1/2."

    found = QUOTED_FOLDERS.sub("'", text)

    assert found == "The weights 'a' in 'c.pth' must fit 'e.pth'; 'f' 1/2."


@pytest.mark.parametrize("path", ["/", "/de", "/config", "/gradio_api/info", "/no-such-page"])
def test_every_answer_has_the_protective_headers(url: str, path: str) -> None:
    headers = httpx.get(f"{url}{path}", timeout=WAIT_S).headers

    policy = headers["content-security-policy"]
    assert "default-src 'self';" in policy
    assert "connect-src 'self' data: blob:;" in policy
    assert "object-src 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


# --- settings ------------------------------------------------------------------------------------


def test_the_page_is_launched_closed() -> None:
    options = launch_options()
    page = Page(Workbench()).build()

    assert page.analytics_enabled is False
    assert options["show_error"] is False
    assert options["enable_monitoring"] is False
    assert options["run_history"] is False
    assert not {"share", "allowed_paths", "auth", "root_path"} & set(options)
    page.close()
