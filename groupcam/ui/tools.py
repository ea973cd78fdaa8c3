"""The endpoints as tools of the Model Context Protocol, for language models.

Gradio makes a tool of every public endpoint and serves them beside the page, at
`/gradio_api/mcp/`. Here only what a language model meets is made fit for it: which values a
parameter takes, where a picture may come from, and an answer without what no model can read.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import cv2
import gradio as gr
import numpy as np
from gradio.mcp import GradioMCPServer
from gradio_client import handle_file  # type: ignore[import-untyped]  # it ships no types
from mcp import types

import groupcam
from groupcam.errors import GroupCamError, shown
from groupcam.images import downscale
from groupcam.ui import views
from groupcam.ui.uploads import uploaded_path

INSTRUCTIONS = """\
groupcam shows where an image classifier looks, and why (Group-CAM saliency maps). Call predict \
first to learn which classes the network sees in a picture, then explain for the map of one of \
them. curves checks how well that map tells what the network uses; compare sets several saliency \
methods side by side; layers lists where in the network one can look. A map tells what one network \
responds to. It does not tell that the answer is right, nor where the object's outline is. Calls \
wait in one line with all other users' work. Every answer is JSON text with the settings, versions \
and checksums that it was made with; pictures follow it as images."""

IMAGE_TEXT = """\
The picture: a public http(s) address, a path that POST /gradio_api/upload of this server gave, or \
a data URI (data:image/jpeg;base64,...)."""

PICTURE_SIDE_PX = 768  # what models look at, and no burden on their memory
DIGITS = 6  # of numbers in the text
UNREADABLE = "saliency_map_npy"  # values for programs: the HTTP API gives them
PICTURE = "overlay"
UPLOADED = "/gradio_api/file="


def serve_tools(demo: gr.Blocks) -> dict[str, Any]:
    """Make a page serve its endpoints as tools; return more arguments for its `launch`."""
    tools = Tools(demo)
    # What Gradio's own `mcp_server=True` does, but for the class.
    demo.mcp_server_obj, demo.mcp_server = tools, True
    return {"mcp_server": False, "app_kwargs": {"lifespan": tools.lifespan}}


class Tools(GradioMCPServer):
    """The tools of a page."""

    def create_mcp_server(self) -> Any:
        """Return the server with a word on how the tools belong together."""
        server = super().create_mcp_server()
        server.version = groupcam.__version__
        server.instructions = INSTRUCTIONS
        return server

    def get_input_schema(
        self, tool_name: str, parameters: dict[str, str] | None = None
    ) -> tuple[dict[str, Any], list[list[str | int]]]:
        """Return what a tool takes, every parameter with text and default, and which are files."""
        schema, files = super().get_input_schema(tool_name)
        endpoint = self.api_info["named_endpoints"][self.tool_to_endpoint[tool_name]]
        for info in endpoint["parameters"]:
            told = schema["properties"][info["parameter_name"]]
            told.pop("additional_description", None)
            if info["parameter_has_default"]:
                told["default"] = info["parameter_default"]
        for (name,) in files:
            schema["properties"][name] = {"type": "string", "description": IMAGE_TEXT}
        schema["additionalProperties"] = False
        return schema, files

    @property
    def _file_data_tool_description(self) -> str:
        """Return nothing: the parameter's own text says where a picture may come from."""
        return ""

    def convert_strings_to_filedata(
        self, value: Any, filedata_positions: list[list[str | int]]
    ) -> Any:
        """Return a tool's arguments with its picture as the endpoint takes it.

        Raises:
            GroupCamError: an argument is an object, or the picture's address is no such one.
        """
        # Gradio's client runs in this process and would upload any file that an object names.
        if _holds_object(list(value.values())):
            raise GroupCamError("No argument may be an object; send texts, numbers and lists.")
        asked = []
        for position in filedata_positions:
            name = str(position[0])
            address = value.get(name)
            path = self._path_of(address)
            if path is not None:
                value = {**value, name: handle_file(str(path))}
            elif address is not None:
                asked.append(position)
        return super().convert_strings_to_filedata(value, asked)

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """Return an answer as texts and pictures."""
        pictures: list[tuple[str, str]] = []
        text = json.dumps(_readable(data[0], pictures), ensure_ascii=False)
        content: list[Any] = [types.TextContent(type="text", text=text)]
        for title, uri in pictures:
            content += [
                types.TextContent(type="text", text=f"{PICTURE}{title}:"),
                types.ImageContent(type="image", data=_small(uri), mimeType="image/jpeg"),
            ]
        return content

    def _path_of(self, address: Any) -> Path | None:
        """Return the file that was uploaded to this server; None: the address is another one.

        Raises:
            GroupCamError: it is no address of a picture.
        """
        if address is None:
            return None
        request = self.mcp_server.request_context.request
        path = address
        if isinstance(address, str) and address.startswith(("data:", "http://", "https://")):
            try:
                parts = urlsplit(address)
            except ValueError:  # "http://["
                return None
            host = None if request is None else request.headers.get("host")
            if parts.netloc != host or not parts.path.startswith(UPLOADED):
                return None
            path = unquote(parts.path.removeprefix(UPLOADED))
        try:
            uploaded = uploaded_path({"path": path})
            is_there = uploaded.is_file()
        except (GroupCamError, OSError):  # a name that no disk can have
            is_there = False
        if not is_there:
            raise GroupCamError(
                "image must be a public http(s) address, a data URI, or a path that "
                f"/gradio_api/upload gave; got {shown(address)}. Upload the file first."
            )
        return uploaded


def _holds_object(value: Any) -> bool:
    """Return whether there is a JSON object in a list, at any depth."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            return True
        if isinstance(part, list):
            waiting.extend(part)
    return False


def _readable(value: Any, pictures: list[tuple[str, str]]) -> Any:
    """Return what a model can read of an answer; pictures are put into the list with a title."""
    if isinstance(value, Mapping):
        if PICTURE in value:
            method = value.get("method")
            pictures.append((f" of {method}" if method else "", value[PICTURE]))
        return {
            key: _readable(part, pictures)
            for key, part in value.items()
            if key not in (PICTURE, UNREADABLE)
        }
    if isinstance(value, list):
        return [_readable(part, pictures) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return value


def _small(uri: str) -> str:
    """Return a data URI's picture as a JPEG of bounded size, in base64."""
    content = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
    assert picture is not None  # it is our own
    small = views.data_uri(downscale(picture.astype(np.uint8), PICTURE_SIDE_PX))
    return small.partition(",")[2]
