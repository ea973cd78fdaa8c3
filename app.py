"""The web app: python app.py [--host HOST] [--port PORT] [--mcp].

Environment: GROUPCAM_DEVICE names the device ("cpu"; "zerogpu" for a ZeroGPU Space),
GROUPCAM_MAX_PARAMETERS the largest backbone that visitors may load ("100M"; not set: what fits into
GROUPCAM_BACKBONE_BYTES, the memory for loaded ones), GROUPCAM_MCP=1 serves the endpoints to
language models too, as --mcp does, GROUPCAM_LOG=json makes every line of the log a JSON object.
GET /health tells how the app is.
"""

import argparse
import logging
import os
from typing import Any

# No look-ups of Gradio's own; set before the import, which reads it.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# After every event Gradio would make a table of the last 10,000, which nobody can ask for here.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))

from groupcam.errors import GroupCamError
from groupcam.memory import share_arenas
from groupcam.ui import build_demo, launch_options, tool_options
from groupcam.ui.event_log import JsonLines
from groupcam.ui.line import line_up
from groupcam.ui.service import Service

UNITS = {"K": 10**3, "M": 10**6, "G": 10**9}


def amount_from(variable: str) -> int | None:
    """Return the whole number in an environment variable, "100M" or "100000000"; None: not set."""
    text = os.environ.get(variable, "").strip().upper()
    digits = text.rstrip("KMG")
    if not text:
        return None
    if not digits.isdecimal() or len(text) - len(digits) > 1:
        raise SystemExit(f"{variable} must be a whole number such as 100M; got '{text}'.")
    return int(digits) * UNITS.get(text[len(digits) :], 1)


def settings_from_environment() -> dict[str, Any]:
    """Return the arguments of `build_demo` that the environment sets."""
    settings = {
        "device": os.environ.get("GROUPCAM_DEVICE"),
        "max_parameters": amount_from("GROUPCAM_MAX_PARAMETERS"),
        "backbone_bytes": amount_from("GROUPCAM_BACKBONE_BYTES"),
    }
    return {name: value for name, value in settings.items() if value is not None}


def parse_arguments() -> argparse.Namespace:
    """Return the command line's settings; Gradio's own environment variables hold otherwise."""
    parser = argparse.ArgumentParser(description="Start the groupcam page.")
    parser.add_argument("--host", default=None, help="address to serve on (default: this machine)")
    parser.add_argument("--port", type=int, default=None, help="port (default: 7860 or the next)")
    parser.add_argument(
        "--mcp",
        action="store_true",
        default=is_on("GROUPCAM_MCP"),
        help="serve the endpoints as tools for language models too (MCP), at /gradio_api/mcp/",
    )
    return parser.parse_args()


def is_on(variable: str) -> bool:
    """Return whether an environment variable is 1; 0, empty or not set: it is not."""
    text = os.environ.get(variable, "").strip()
    if text not in ("", "0", "1"):
        raise SystemExit(f"{variable} must be 1 or 0; got '{text}'.")
    return text == "1"


def set_up_log() -> None:
    """Log what groupcam does to the standard error, as text or JSON."""
    form = os.environ.get("GROUPCAM_LOG", "").strip() or "text"
    if form not in ("text", "json"):
        raise SystemExit(f"GROUPCAM_LOG must be text or json; got '{form}'.")
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(message)s")
    )
    log = logging.getLogger("groupcam")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


share_arenas()
service = Service()
try:
    demo = build_demo(**settings_from_environment(), service=service)
except GroupCamError as error:
    raise SystemExit(str(error)) from error

if __name__ == "__main__":
    arguments = parse_arguments()
    set_up_log()
    options = launch_options()
    if arguments.mcp:
        try:
            options = tool_options(demo)
        except RuntimeError as error:
            raise SystemExit(f"{error} Or start without --mcp and GROUPCAM_MCP.") from error
    options["app_kwargs"]["routes"] = service.routes
    line_up(demo).launch(
        server_name=arguments.host,
        server_port=arguments.port,
        prevent_thread_lock=True,
        **options,
    )
    service.wait_for_stop()
    service.stop()  # what runs may end; a proxy sees at /health that nothing more may come
    demo.server.close()  # its answers may arrive
    demo.close()
