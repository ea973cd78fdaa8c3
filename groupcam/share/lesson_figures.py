"""Small drawings for the lessons and their printed sheet, as SVG and HTML text.

Lines and letters take the colour of the text around them, so one drawing suits light, dark and
paper.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt
import torch

from groupcam.language import say
from groupcam.render.figures import DELETION_COLOR, INSERTION_COLOR
from groupcam.saliency.perturb import gaussian_blur
from groupcam.share.html import picture_figure, picture_uri

UInt8Array = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""(top, left, bottom, right) as fractions of the picture that the network sees."""

_BLUR_KERNEL_PX = 51  # as on the page
_BLUE = INSERTION_COLOR

# Three channels of 4 x 4 cells, made up: an eye, a texture, and what speaks against the class.
_CHANNELS = np.array(
    [
        [[0, 0, 0, 0], [0, 0.9, 1, 0], [0, 0.5, 0.6, 0], [0, 0, 0, 0]],
        [[0, 0.2, 0.3, 0], [0.2, 0.8, 0.9, 0], [0.3, 1, 0.7, 0], [0, 0.3, 0, 0]],
        [[0.9, 0.2, 0, 0.7], [0.6, 0, 0, 1], [0, 0, 0.4, 0.9], [0, 0, 0.2, 0.4]],
    ]
)
_WEIGHTS = (0.8, 0.5, -0.3)


def weighted_sum() -> str:
    """Return how channels times their weights add up to a class activation map."""
    total = np.maximum(0, np.tensordot(_WEIGHTS, _CHANNELS, axes=1))
    parts = []
    for place, (weight, channel) in enumerate(zip(_WEIGHTS, _CHANNELS, strict=True)):
        sign = "−" if weight < 0 else "+" if place else ""
        left = 8 + 88 * place
        parts.append(_text(left + 28, 14, f"{sign} {abs(weight)} ×".strip()))
        parts.append(_grid(left, 24, channel))
    parts.append(_text(254, 57, "→"))
    parts.append(_text(300, 14, say("lesson_figures.the_map")))
    parts.append(_grid(272, 24, total / total.max()))
    return _svg(336, 86, parts, say("lesson_figures.weighted_sum"))


def grouping() -> str:
    """Return how twelve channels become three groups, each asked about once."""
    parts = [_text(4, 14, say("lesson_figures.channels"), anchor="start")]
    sizes = (5, 4, 3)
    shades = (1.0, 0.62, 0.32)
    left = 4.0
    for size, shade in zip(sizes, shades, strict=True):
        width = 26 * size - 8
        middle = left + width / 2
        parts += [_cell(left + 26 * one, 22, 18, shade) for one in range(size)]
        parts.append(
            f'<path d="M{left:g} 46 v5 h{width:g} v-5 M{middle:g} 51 v11" fill="none" '
            'stroke="currentColor"/>'
        )
        parts.append(_cell(middle - 14, 64, 28, shade))
        left += 26 * size + 8
    parts.append(_text(4, 110, say("lesson_figures.groups"), anchor="start"))
    return _svg(336, 116, parts, say("lesson_figures.grouping"))


def curves() -> str:
    """Return what good curves look like: a large area under insertion, a small one for deletion."""
    parts = []
    # From the left end along a bend with two handles to the right end, (x, y) in pixels.
    rising = ((0, 72), (12, 20), (26, 12), (140, 8))
    falling = ((0, 8), (10, 58), (22, 72), (140, 74))
    for left, name, color, line, says_y in (
        (8, "insertion", INSERTION_COLOR, rising, 68),
        (182, "deletion", DELETION_COLOR, falling, 46),
    ):
        start, *bend = (f"{left + x} {16 + y}" for x, y in line)
        curve = f"M{start} C{' '.join(bend)}"
        parts += [
            f'<path d="{curve} V94 H{left} Z" fill="{color}" fill-opacity=".18"/>',
            f'<path d="{curve}" fill="none" stroke="{color}" stroke-width="2.5"/>',
            f'<path d="M{left} 14 V94 H{left + 144}" fill="none" stroke="currentColor"/>',
            _text(left + 72, 12, say(f"lesson_figures.{name}"), weight=600),
            _text(left + 72, 110, say("lesson_figures.pixels_changed")),
            _text(left + 84, says_y, say(f"lesson_figures.good_{name}")),
        ]
    return _svg(336, 116, parts, say("lesson_figures.curves"))


def blurred(seen: UInt8Array, sigmas_px: Sequence[float]) -> str:
    """Return the picture that the network sees, (H, W, 3), and what some blurs leave of it."""
    pixels = torch.from_numpy(seen.copy()).permute(2, 0, 1).float()
    figures = [picture_figure(seen, say("lesson_figures.picture"))]
    for sigma in sigmas_px:
        hidden = gaussian_blur(pixels, sigma, _BLUR_KERNEL_PX).round().clamp(0, 255)
        rgb = hidden.permute(1, 2, 0).byte().numpy()
        figures.append(picture_figure(rgb, say("lesson_figures.sigma", sigma=sigma)))
    return f'<div class="gc-lesson-row">{"".join(figures)}</div>'


def boxed(seen: UInt8Array, boxes: Sequence[tuple[str, Box]], says: str) -> str:
    """Return a picture with named boxes drawn on it.

    Args:
        seen: the picture that the network sees, (H, W, 3).
        boxes: each with its name.
        says: the drawing in words, for those who cannot see it.
    """
    height, width = seen.shape[:2]
    parts = [f'<image href="{picture_uri(seen)}" width="{width}" height="{height}"/>']
    for name, (top, left, bottom, right) in boxes:
        x, y = left * width, top * height
        size = f'width="{(right - left) * width:g}" height="{(bottom - top) * height:g}"'
        # A white line on a dark one is seen on any picture.
        for color, line in (("#000", 5), ("#fff", 2)):
            parts.append(
                f'<rect x="{x:g}" y="{y:g}" {size} fill="none" stroke="{color}" '
                f'stroke-width="{line}"/>'
            )
        parts.append(
            f'<text x="{x + 6:g}" y="{y + 17:g}" fill="#fff" stroke="#000" stroke-width="3" '
            f'paint-order="stroke" font-size="14">{escape(name)}</text>'
        )
    return _svg(width, height, parts, says, "gc-lesson-boxed")


# --- parts ---------------------------------------------------------------------------------------


def _svg(width: int, height: int, parts: Sequence[str], says: str, kind: str = "") -> str:
    classes = f"gc-lesson-drawing {kind}".strip()
    return (
        f'<svg class="{classes}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(says)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, words: str, *, anchor: str = "middle", weight: int = 400) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor" font-size="13" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def _grid(left: float, top: float, values: npt.NDArray[np.float64], side: float = 14) -> str:
    return "".join(
        _cell(left + side * column, top + side * row, side, float(value))
        for (row, column), value in np.ndenumerate(values)
    )


def _cell(x: float, y: float, side: float, value: float) -> str:
    """Return one cell, the stronger the larger its value in 0..1 is."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}" fill="{_BLUE}" '
        f'fill-opacity="{value:.2f}" stroke="currentColor" stroke-opacity=".35"/>'
    )
