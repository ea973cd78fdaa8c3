"""`api`: how to call a running page from a program, written from what the page says itself."""

import argparse
import http.client
import json
import urllib.request

from groupcam.errors import GroupCamError
from groupcam.share.http_guide import http_guide

DEFAULT_URL = "http://127.0.0.1:7860"
WAIT_S = 30
MOST_BYTES = 10 * 2**20  # a description has some 50 kB


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `api`."""
    parser.add_argument(
        "--url",
        default=DEFAULT_URL,
        help=f"address of the page, started by `python app.py` (default: {DEFAULT_URL})",
    )


def run(args: argparse.Namespace) -> None:
    """Print the guide as Markdown."""
    print(http_guide(described(args.url), args.url), end="")


def described(url: str) -> dict[str, object]:
    """Return what a page says about its endpoints.

    Raises:
        GroupCamError: there is no such page.
    """
    refused = (
        f"--url must be the address of a running page, such as {DEFAULT_URL}; got '{url}'. "
        "Start one with `python app.py`."
    )
    if not url.startswith(("http://", "https://")):
        raise GroupCamError(refused)
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/gradio_api/info", timeout=WAIT_S) as page:
            info = json.loads(page.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise GroupCamError(refused) from error
    if not isinstance(info, dict) or "named_endpoints" not in info:
        raise GroupCamError(refused)
    return info
