"""Which file a visitor's picture is: only ever one that was uploaded."""

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from groupcam.errors import GroupCamError
from groupcam.language import say


def uploaded_path(payload: Any) -> Path:
    """Return the path of an uploaded file from what a picture component sent.

    Gradio checks paths only in payloads that carry its own mark, which a raw request can leave
    out; so the check is made here, for every request.

    Raises:
        GroupCamError: nothing was sent, or it is not a file in the upload folder.
    """
    path = payload.get("path") if isinstance(payload, dict) else None
    refused = GroupCamError(say("picture.not_uploaded"))
    if not isinstance(path, str) or "\0" in path:
        raise refused
    try:
        resolved = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # letters that no file name has, links in a circle
        raise refused from None
    if not resolved.is_relative_to(Path(get_upload_folder()).resolve()):
        raise refused
    return resolved
