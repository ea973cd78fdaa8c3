"""Small parts of pages that need no other file: pictures, curves and bars as text."""

import base64
import io
from html import escape

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from groupcam.render.figures import svg_of

JPEG_QUALITY = 88


def picture_uri(rgb: npt.NDArray[np.uint8]) -> str:
    """Return a picture, uint8 (H, W, 3), as a data URI of a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def picture_figure(rgb: npt.NDArray[np.uint8], caption: str) -> str:
    """Return a picture with its caption, which is its text for those who cannot see it too."""
    text = escape(caption)
    return (
        f'<figure><img src="{picture_uri(rgb)}" alt="{text}"><figcaption>{text}</figcaption>'
        "</figure>"
    )


def inline_svg(figure: Figure) -> str:
    """Return a figure as an <svg> element, without the head of a file of its own."""
    text = svg_of(figure)
    return text[text.index("<svg") :].strip()
