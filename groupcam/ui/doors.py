"""What requests may bring to Gradio's doors, and which of them are shut.

Gradio bounds the files of an upload one by one, reads every other body whole into memory, and
stumbles over calls with a wrong name.
"""

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groupcam.errors import shown

MAX_FILE_BYTES = 100 * 10**6  # what "100mb" is to Gradio
MAX_UPLOAD_BYTES = MAX_FILE_BYTES + 2**20  # all files of one upload, with the names around them
# A picture as a data URI, which language models send, is the longest; no page of ours comes near.
MAX_BODY_BYTES = 16 * 2**20

UPLOAD = "/gradio_api/upload"
# They convert videos, call components' own functions, of which there are none here, and write what
# a page shows to the disk.
SHUT = ("/gradio_api/process_recording", "/gradio_api/component_server", "/gradio_api/deep_link")


CALL = "/gradio_api/call/v2/"


class Doors:
    """Refuses requests that bring too much, before it is all here, and those at shut doors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].rstrip("/")
        if path.endswith(SHUT):
            await JSONResponse({"detail": "Not found."}, 404)(scope, receive, send)
            return
        most = MAX_UPLOAD_BYTES if path.endswith(UPLOAD) else MAX_BODY_BYTES
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > most:
            await JSONResponse({"detail": _too_long(most)}, 413)(scope, receive, send)
            return
        arrived = 0

        async def bounded() -> Message:
            nonlocal arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > most:  # sent in pieces, or the header lies
                raise HTTPException(413, _too_long(most))
            return message

        try:
            await self._app(scope, bounded, send)
        except (
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # before any answer: it puts calls in line
            if CALL not in path:
                raise
            told = f"No such endpoint or parameter: {shown(str(error))}. See /gradio_api/info."
            await JSONResponse({"detail": told}, 422)(scope, receive, send)


def _too_long(most: int) -> str:
    return f"A request here must have at most {most:,} bytes; this one has more. Send less."
