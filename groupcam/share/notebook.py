"""What a result shows of itself in a notebook: pictures and bars, in the notebook's own colours."""

from html import escape

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from groupcam.images import downscale
from groupcam.metrics import Curves
from groupcam.render.figures import INSERTION_COLOR, groups_by_weight, mask_caption, svg_of
from groupcam.render.heatmap import heatmap, overlay
from groupcam.saliency import Explanation
from groupcam.share.curves import figure_of
from groupcam.share.html import inline_svg, picture_uri

BARS_SHOWN = 12
_PICTURE_PX = 256

# Styles stand in the elements: notebooks share one page, and some take style sheets away.
_ROW = "display:flex;flex-wrap:wrap;gap:14px;align-items:flex-start"
_QUIET = "opacity:.75;font-size:12px;line-height:1.35"


def explanation_html(explanation: Explanation) -> str:
    """Return an explanation as a piece of HTML.

    Its class and probability, the picture as the network saw it beside the overlay (the map alone
    where the picture was not kept), why the map is blank if it is, and the heaviest groups' weights
    as bars.
    """
    config = explanation.config
    title = (
        f"<b>{escape(explanation.class_label)}</b> {explanation.probability:.1%}"
        f'<div style="{_QUIET}">{escape(explanation.target_layer)} · {config.groups} groups · blur '
        f"{config.blur_sigma_px:g} px · {explanation.forward_passes} forward passes</div>"
    )
    blank = ""
    if explanation.blank_reason is not None:
        blank = (
            '<div style="border-left:4px solid #D55E00;margin:6px 0;padding:2px 8px">'
            f"{escape(explanation.blank_reason)}</div>"
        )
    return (
        f'<div style="margin:4px 0">{title}{blank}<div style="{_ROW};margin-top:6px">'
        f"{_pictures(explanation)}{_bars(explanation)}</div></div>"
    )


def curves_html(curves: Curves) -> str:
    """Return curves as a piece of HTML: the drawing and how it was made."""
    protocol = curves.protocol
    made = (
        f"Over-all {curves.over_all:.3f} · {len(curves.fractions) - 1} steps of "
        f"{protocol.pixels_per_step} pixels · insertion from {protocol.insertion_baseline}, "
        f"deletion to {protocol.deletion_baseline}"
    )
    drawing = inline_svg(_figure(curves))
    return f'<div>{drawing}<div style="{_QUIET}">{escape(made)}</div></div>'


def curves_svg(curves: Curves) -> str:
    """Return curves as an SVG file."""
    return svg_of(_figure(curves))


def _figure(curves: Curves) -> Figure:
    """Return the drawing; curves know the number of their class, not its name."""
    return figure_of(curves, f"class {curves.class_index}")


def _pictures(explanation: Explanation) -> str:
    """Return the picture and its overlay, or the map alone."""
    values = explanation.saliency_map.numpy()
    seen = explanation.picture_seen
    if seen is None:
        return _picture(_enlarged(heatmap(values)), "saliency map")
    seen = _enlarged(seen)
    shown = _picture(seen, "as the network saw it")
    if explanation.blank_reason is not None:
        return shown
    return shown + _picture(overlay(seen, values), "where it looks")


def _picture(rgb: npt.NDArray[np.uint8], caption: str) -> str:
    """Return a picture with a caption under it."""
    height, width = rgb.shape[:2]
    return (
        f'<div><img src="{picture_uri(rgb)}" alt="{escape(caption)}" width="{width}" '
        f'height="{height}" style="margin:0"><div style="{_QUIET}">{escape(caption)}</div></div>'
    )


def _enlarged(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture whose longest side has the size that is shown."""
    longest = max(rgb.shape[:2])
    if longest >= _PICTURE_PX:
        return downscale(rgb, _PICTURE_PX)
    scale = _PICTURE_PX / longest
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))  # (W, H)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _bars(explanation: Explanation) -> str:
    """Return the heaviest groups' weights as bars, the heaviest as long as there is room."""
    weights = explanation.group_weights.numpy()
    empty = explanation.is_dead_group.tolist()
    shown = groups_by_weight(weights)[:BARS_SHOWN]
    longest = float(weights.max()) or 1.0  # where all are 0, no bar has a length
    rows = "".join(
        '<div style="display:flex;align-items:center;gap:6px;height:18px">'
        f'<div style="width:122px">'
        f"{escape(mask_caption(group, float(weights[group]), is_empty=empty[group]))}</div>"
        f'<div style="background:{INSERTION_COLOR};height:10px;'
        f'width:{100 * float(weights[group]) / longest:.1f}px"></div></div>'
        for group in shown
    )
    left = len(weights) - len(shown)
    more = f'<div style="{_QUIET}">and {left} more</div>' if left else ""
    return f'<div style="font-size:12px;min-width:230px">{rows}{more}</div>'
