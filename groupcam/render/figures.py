"""Figures for reports and the command line: group masks, curves, a map beside its picture."""

import io
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groupcam.errors import GroupCamError
from groupcam.images import downscale
from groupcam.language import say
from groupcam.render.heatmap import masked_tile

# Blue and orange of Okabe and Ito's palette (2008): told apart with any kind of colour vision.
INSERTION_COLOR = "#0072B2"
DELETION_COLOR = "#D55E00"
TEXT_COLOR = "#222222"
QUIET_COLOR = "#767676"  # 4.5 : 1 on white

_DPI = 150
_TILE_IN = 1.35
_CAPTION_IN = 0.27
_TALLEST = 2.0  # height / width of the room that a picture gets at most

# Settings of matplotlib belong to the process, so one figure at a time is written with others.
_SVG_SETTINGS = threading.Lock()


def masks_sheet(
    rgb: npt.NDArray[np.uint8],
    masks: npt.NDArray[Any],
    weights: npt.NDArray[Any],
    *,
    columns: int = 8,
) -> Figure:
    """Return a sheet with the picture seen through every group's mask, heaviest group first.

    Groups are numbered from 1 in the order of `masks`. A group of weight 0 added nothing to the
    saliency map: its caption is grey and says "no gain", or "empty" when its mask is 0 everywhere.

    Args:
        rgb: the part of the picture that the network saw, uint8 (H, W, 3).
        masks: float in [0, 1], (G, h, w).
        weights: the groups' weights, >= 0, (G,).
        columns: tiles in a row.
    """
    if masks.ndim != 3 or weights.shape != masks.shape[:1] or len(masks) == 0:
        raise GroupCamError(
            "masks must be (G, h, w) with one weight each; "
            f"got masks {masks.shape} and weights {weights.shape}."
        )
    if columns < 1:
        raise GroupCamError(f"columns must be at least 1; got {columns}.")
    columns = min(columns, len(masks))
    rows = -(-len(masks) // columns)
    tile_rgb = downscale(rgb, 2 * round(_TILE_IN * _DPI))
    # A very tall picture becomes narrow instead of making the sheet endless.
    tile_height = _TILE_IN * min(rgb.shape[0] / rgb.shape[1], _TALLEST)
    figure = new_figure(columns * (_TILE_IN + 0.06), rows * (tile_height + _CAPTION_IN))
    grid = figure.subplots(rows, columns, squeeze=False)
    gap = {"wspace": 0.05, "hspace": _CAPTION_IN / tile_height}
    top = 1 - 0.8 * _CAPTION_IN / figure.get_figheight()
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=top, **gap)

    for axes in grid.flat:
        axes.set_axis_off()
    for axes, group in zip(grid.flat, groups_by_weight(weights), strict=False):
        _show(axes, masked_tile(tile_rgb, masks[group]))
        is_dead = not weights[group] > 0
        axes.set_title(
            mask_caption(group, float(weights[group]), is_empty=not masks[group].any()),
            fontsize=7.5,
            pad=2.5,
            color=QUIET_COLOR if is_dead else TEXT_COLOR,
        )
    return figure


def groups_by_weight(weights: npt.NDArray[Any]) -> list[int]:
    """Return the groups' indices, heaviest first; equal ones keep their order."""
    return [int(group) for group in np.argsort(-np.asarray(weights), kind="stable")]


def mask_caption(group: int, weight: float, *, is_empty: bool = False) -> str:
    """Return the words above a group's tile, for example "Group 7 · 0.412".

    Args:
        group: index of the group; people read it counted from 1.
        weight: gain in probability, >= 0.
        is_empty: the mask is 0 everywhere, so nothing was scored.
    """
    if is_empty:
        return say("masks.group_empty", group=group + 1)
    if not weight > 0:
        return say("masks.group_no_gain", group=group + 1)
    return say(
        "masks.group", group=group + 1, weight=f"{weight:.3f}" if weight >= 0.0005 else "<0.001"
    )


def curves_figure(
    fractions: Sequence[float] | npt.NDArray[Any],
    insertion: Sequence[float] | npt.NDArray[Any],
    deletion: Sequence[float] | npt.NDArray[Any],
    insertion_auc: float,
    deletion_auc: float,
    *,
    class_label: str = "the class",
) -> Figure:
    """Return the insertion and deletion curves with the areas under them.

    Args:
        fractions: share of pixels changed, (S+1,), in [0, 1]; fewer while curves are being made.
        insertion: probability of the class, as long as `fractions`.
        deletion: as `insertion`.
        insertion_auc: area under the insertion curve, higher is better.
        deletion_auc: area under the deletion curve, lower is better.
        class_label: whose probability it is.
    """
    if not len(fractions) == len(insertion) == len(deletion):
        raise GroupCamError(
            "fractions, insertion and deletion must be equally long; "
            f"got {len(fractions)}, {len(insertion)} and {len(deletion)}."
        )
    figure = new_figure(5.4, 3.5)
    axes = figure.subplots()
    curves = (
        ("Insertion", insertion, insertion_auc, "higher is better", INSERTION_COLOR, "-"),
        ("Deletion", deletion, deletion_auc, "lower is better", DELETION_COLOR, "--"),
    )
    for name, values, auc, direction, color, line_style in curves:
        axes.fill_between(fractions, values, color=color, alpha=0.13, linewidth=0)
        axes.plot(
            fractions,
            values,
            color=color,
            linewidth=2,
            linestyle=line_style,
            label=f"{name}: AUC {auc:.3f}, {direction}",
        )
    finish_curves(axes, class_label)
    # Above the axes: nowhere inside is sure to be free of curves.
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        frameon=False,
        fontsize=9,
        handlelength=2.4,
        labelspacing=0.25,
        borderaxespad=0.2,
    )
    figure.subplots_adjust(left=0.115, right=0.965, bottom=0.14, top=0.855)
    return figure


def explanation_figure(
    rgb: npt.NDArray[np.uint8], overlay_rgb: npt.NDArray[np.uint8], caption: str
) -> Figure:
    """Return the picture and its overlay side by side with a caption under them.

    Args:
        rgb: the picture, uint8 (H, W, 3).
        overlay_rgb: what `overlay` made of it, of the same size.
        caption: one line or several.
    """
    if rgb.shape != overlay_rgb.shape:
        raise GroupCamError(
            "the picture and its overlay must have one size; "
            f"got {rgb.shape} and {overlay_rgb.shape}."
        )
    lines = _wrapped(caption)
    width = 7.2
    side = (width - 0.3) / 2
    height = side * min(rgb.shape[0] / rgb.shape[1], _TALLEST)
    caption_height = 0.16 + 0.19 * len(lines)
    figure = new_figure(width, height + caption_height + 0.1)
    figure_height = figure.get_figheight()
    for column, pixels in enumerate((rgb, overlay_rgb)):
        left = (0.1 + column * (side + 0.1)) / width
        bottom = caption_height / figure_height
        axes = figure.add_axes((left, bottom, side / width, height / figure_height))
        _show(axes, downscale(pixels, 2 * round(side * _DPI)))
    figure.text(
        0.1 / width, (caption_height - 0.1) / figure_height, "\n".join(lines),
        fontsize=9.5, color=TEXT_COLOR, va="top", parse_math=False,
    )  # fmt: skip
    return figure


def png_of(figure: Figure) -> bytes:
    """Return the figure as a PNG file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, facecolor="white")
    return buffer.getvalue()


def svg_of(figure: Figure) -> str:
    """Return the figure as an SVG file whose text is text; equal figures give equal files."""
    buffer = io.StringIO()
    # Without a salt matplotlib draws its ids at random.
    with (
        _SVG_SETTINGS,
        matplotlib.rc_context({"svg.hashsalt": "groupcam", "svg.fonttype": "none"}),
    ):
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG; its folder must exist."""
    figure.savefig(path, format="png", dpi=_DPI, facecolor="white")


def finish_curves(axes: Axes, class_label: str) -> None:
    """Give the axes of curves their ranges, names and grid."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("fraction of pixels changed")
    axes.set_ylabel(f"probability of {shortened(class_label, 28)}", parse_math=False)
    axes.grid(color="#E4E4E4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that pyplot does not know of, so nobody has to close it."""
    return Figure(figsize=(width_in, height_in), dpi=_DPI, facecolor="white")


def _show(axes: Axes, pixels: npt.NDArray[np.uint8]) -> None:
    """Show a picture as large as the axes allow."""
    axes.imshow(pixels)
    axes.set_axis_off()


def shortened(text: str, limit: int) -> str:
    """Return the text cut to `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _wrapped(caption: str, width: int = 100) -> list[str]:
    """Return the caption's lines, broken where they are too long for the figure."""
    lines = caption.splitlines() or [""]
    return [part for line in lines for part in textwrap.wrap(line, width) or [""]]
