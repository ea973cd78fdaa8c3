"""The page: the only part of groupcam that needs Gradio."""

import importlib.util
import threading
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from groupcam.language import TRANSLATIONS
from groupcam.models import DEFAULT_BACKBONE
from groupcam.models.pool import BackboneKey
from groupcam.ui import zero_gpu
from groupcam.ui.components import ASSETS
from groupcam.ui.doors import MAX_FILE_BYTES, Doors
from groupcam.ui.headers import ProtectiveHeaders
from groupcam.ui.page import Page
from groupcam.ui.service import Service
from groupcam.ui.workbench import BACKBONE_BYTES, Workbench

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]


MOST_SESSIONS = 500  # of which Gradio keeps states; those who call the endpoints never leave


def build_demo(
    device: str = "cpu",
    *,
    max_parameters: int | None = None,
    backbone_bytes: int = BACKBONE_BYTES,
    service: Service | None = None,
) -> gr.Blocks:
    """Return the page in all languages; launch it with `launch_options()`.

    The arguments are those of `Workbench`, a device also "zerogpu", and the service that watches
    what runs networks. The default backbone is loaded meanwhile, in a thread.

    Raises:
        GroupCamError: there is no ZeroGPU here.
    """
    is_lent = device == zero_gpu.DEVICE
    workbench = Workbench(
        "cpu" if is_lent else device,
        max_parameters=max_parameters,
        backbone_bytes=backbone_bytes,
        prepare=zero_gpu.lender() if is_lent else None,
    )
    key = BackboneKey(DEFAULT_BACKBONE)
    # No daemon: a process that ends while torch works would end with an abort.
    threading.Thread(target=workbench.load, args=[key], name="first backbone").start()
    service = service or Service()
    demo = Page(workbench, service=service).build()
    for language in TRANSLATIONS:
        Page(workbench, language, service=service).add_to(demo)
    return demo


def launch_options() -> dict[str, Any]:
    """Return the look of the page and its limits, as arguments for `launch`."""
    return {
        "theme": gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=FONTS,
            font_mono=["ui-monospace", "monospace"],
        ).set(  # eyes need 4.5 : 1; the theme's quiet text has 2.6, its button's 3.7
            body_text_color_subdued="*neutral_600",
            body_text_color_subdued_dark="*neutral_300",
            block_info_text_color="*neutral_600",
            block_info_text_color_dark="*neutral_300",
            button_primary_background_fill="*primary_600",
            button_primary_background_fill_hover="*primary_700",
        ),
        "css_paths": [ASSETS / "page.css"],
        "head": f"<script>{(ASSETS / 'page.js').read_text(encoding='utf-8')}</script>",
        "max_file_size": MAX_FILE_BYTES,
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "state_session_capacity": MOST_SESSIONS,
        # Gradio asks the running server for its page and, unless that comes within 3 s, ends the
        # app with a word about proxies: a machine that is busy for a moment must not do that. That
        # the server answers at all is known by then from a request without such a limit.
        "_frontend": False,
        "app_kwargs": {"middleware": [Middleware(ProtectiveHeaders), Middleware(Doors)]},
    }


def tool_options(demo: gr.Blocks) -> dict[str, Any]:
    """Return the arguments for `launch` that serve the endpoints to language models too (MCP).

    Raises:
        RuntimeError: the package that it takes is not installed.
    """
    if importlib.util.find_spec("mcp") is None:
        raise RuntimeError(
            "MCP needs the Python package mcp; it is not installed. Install it with "
            "`pip install 'mcp<2'`."
        )
    # Only here: it takes as long to load as all the rest of the page's own code.
    from groupcam.ui.tools import serve_tools

    options, tools = launch_options(), serve_tools(demo)
    return {**options, **tools, "app_kwargs": options["app_kwargs"] | tools["app_kwargs"]}
