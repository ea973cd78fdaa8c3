"""The tools as a language model meets them: through the protocol's own client, over HTTP."""

import base64
import importlib.util
import io
import json
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import gradio as gr
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from groupcam.saliency import CHOICES, GroupCamConfig
from groupcam.ui import tool_options
from tests.support import ROOT

CAT = ROOT / "assets" / "examples" / "cat.jpg"
NAMES = ["predict", "layers", "explain", "curves", "compare"]


def in_session(url: str, work: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    """Do something in a session with the app's tools."""

    async def connected() -> Any:
        async with (
            streamable_http_client(f"{url}/gradio_api/mcp/") as (reader, writer, _),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            return await work(session)

    return anyio.run(connected)


def call(url: str, name: str, **arguments: Any) -> CallToolResult:
    """Call one tool."""
    result = in_session(url, lambda session: session.call_tool(name, arguments))
    assert isinstance(result, CallToolResult)
    return result


def text_of(result: CallToolResult) -> str:
    """Return the first text of an answer."""
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def pictures_of(result: CallToolResult) -> list[Image.Image]:
    """Return the pictures of an answer."""
    return [
        Image.open(io.BytesIO(base64.b64decode(one.data)))
        for one in result.content
        if isinstance(one, ImageContent)
    ]


@pytest.fixture(scope="module")
def cat_uri() -> str:
    return "data:image/jpeg;base64," + base64.b64encode(CAT.read_bytes()).decode()


@pytest.fixture(scope="module")
def uploaded(url: str) -> str:
    """The path that the server gave to an uploaded picture."""
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="cat.jpg"\r\n\r\n'
    request = urllib.request.Request(
        f"{url}/gradio_api/upload",
        body + CAT.read_bytes() + b"\r\n--x--\r\n",
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)[0])


@pytest.fixture(scope="module")
def schemas(url: str) -> dict[str, dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/gradio_api/mcp/schema", timeout=60) as answer:
        return {tool["name"]: tool for tool in json.load(answer)}


def test_the_tools_are_the_endpoints_and_nothing_of_the_page(
    url: str, schemas: dict[str, dict[str, Any]]
) -> None:
    listed = in_session(url, lambda session: session.list_tools())

    assert list(schemas) == NAMES
    assert [tool.name for tool in listed.tools] == NAMES
    for tool in listed.tools:
        assert tool.inputSchema == schemas[tool.name]["inputSchema"]
        assert tool.description == schemas[tool.name]["description"]


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_told_in_full(name: str, schemas: dict[str, dict[str, Any]]) -> None:
    schema = schemas[name]["inputSchema"]

    assert len(schemas[name]["description"]) > 100
    for parameter, told in schema["properties"].items():
        assert told["description"].endswith("."), parameter
        assert "additional_description" not in told
        assert ("default" in told) == (parameter != "image"), parameter
    assert schema.get("required", []) == (["image"] if name != "layers" else [])
    assert schema["additionalProperties"] is False


def test_settings_have_the_librarys_ranges_choices_and_defaults(
    schemas: dict[str, dict[str, Any]],
) -> None:
    told = schemas["explain"]["inputSchema"]["properties"]

    for name, choices in CHOICES.items():
        assert told[name]["enum"] == list(choices)
    for name, default in vars(GroupCamConfig()).items():
        assert told[name]["default"] == default
    assert (told["groups"]["type"], told["groups"]["minimum"]) == ("integer", 1)
    assert (told["blur_sigma_px"]["minimum"], told["blur_sigma_px"]["maximum"]) == (0.1, 1000)
    assert {"type": "null"} in told["percentile"]["anyOf"]


def test_explain_gives_numbers_to_read_and_a_picture_to_see(url: str, cat_uri: str) -> None:
    result = call(url, "explain", image=cat_uri, groups=16)

    assert not result.isError
    answer = json.loads(text_of(result))
    assert answer["class_label"] == "Egyptian cat"
    assert len(answer["group_weights"]) == 16
    assert answer["config"] == {**vars(GroupCamConfig()), "groups": 16}
    assert len(answer["network"]["weights"]["sha256"]) == 64
    assert not {"overlay", "saliency_map_npy"} & set(answer)
    (overlay,) = pictures_of(result)
    with Image.open(CAT) as picture:
        assert overlay.width / overlay.height == pytest.approx(
            picture.width / picture.height, abs=0.01
        )
    assert max(overlay.size) <= 768
    assert len(text_of(result)) < 5000


def test_an_uploaded_file_is_taken_by_path_and_by_address(url: str, uploaded: str) -> None:
    answers = [
        json.loads(text_of(call(url, "predict", image=image)))
        for image in (uploaded, f"{url}/gradio_api/file={uploaded}")
    ]

    assert answers[0] == answers[1]
    assert answers[0]["classes"][0]["label"] == "Egyptian cat"


def test_compare_names_each_methods_picture(url: str, uploaded: str) -> None:
    methods = ["grad_cam", "centre"]

    result = call(url, "compare", image=uploaded, methods=methods)

    answer = json.loads(text_of(result))
    assert [entry["method"] for entry in answer["methods"]] == methods
    texts = [one.text for one in result.content[1:] if isinstance(one, TextContent)]
    assert texts == ["overlay of grad_cam:", "overlay of centre:"]
    assert len(pictures_of(result)) == 2


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("explain", {"groups": 0}, "0 is less than the minimum of 1"),
        ("explain", {"groups": 321}, "groups must be between 1 and 320"),
        ("explain", {"class_name": "Egyptian dog"}, "Egyptian cat"),
        ("explain", {"sigma": 5}, "'sigma' was unexpected"),
        ("compare", {"methods": ["grad_cam", "gradcam"]}, "Did you mean"),
        ("layers", {"backbone": "timm/tf_efficientnet_lite9"}, "Did you mean"),
        ("predict", {"image": "cat.jpg"}, "image must be a public http(s) address"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_with_a_sentence(
    url: str, uploaded: str, name: str, changes: dict[str, Any], message: str
) -> None:
    image = {} if name == "layers" else {"image": uploaded}

    result = call(url, name, **{**image, **changes})

    assert result.isError
    assert message in text_of(result)
    assert "Traceback" not in text_of(result)


@pytest.mark.parametrize(
    "image",
    [
        str(CAT),
        "/etc/passwd",
        f"file://{CAT}",
        {"path": str(CAT), "meta": {"_type": "gradio.FileData"}},
        {"path": str(CAT)},
        "{url}/gradio_api/file=" + str(CAT),
        "{url}/config",
        "http://127.0.0.1:1/cat.jpg",
        "http://169.254.169.254/latest",
    ],
    ids=str,
)
@pytest.mark.parametrize("query", ["", "?tools=predict"])
def test_no_file_of_the_server_and_no_inner_address_is_opened(
    url: str, image: Any, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr("groupcam.ui.workbench.open_picture", lambda source: opened.append(source))
    if isinstance(image, str):
        image = image.replace("{url}", url)

    result = call(url, "explain", image=image)

    assert result.isError
    assert opened == []
    assert "root:" not in text_of(result)


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(RuntimeError, match=r"needs the Python package mcp.*pip install"):
        tool_options(gr.Blocks())
