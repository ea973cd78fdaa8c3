"""Results as what the page's components show: HTML, data URIs and plain dictionaries.

Everything that a visitor or a model hub can name (classes, files, layers) is escaped here or is
set as text by the scripts in assets/.
"""

import base64
import itertools
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from groupcam.images import Picture, downscale
from groupcam.language import say
from groupcam.models import TargetLayer
from groupcam.models.preprocessing import inner_part
from groupcam.render.figures import groups_by_weight, mask_caption
from groupcam.render.heatmap import heatmap, masked_tile, overlay
from groupcam.saliency.description import describe
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.scoring import masked_inputs
from groupcam.ui.runs import Loading, Placed, Run, Scoring, Shown

SHOWN_SIDE_PX = 900  # longest side of the picture that is sent to the browser
HEAT_SIDE_PX = 448
SAVED_SIDE_PX = 4096
DETAIL_SIDE_PX = 288
TILE_PX = 112
LAYER_PX = 32
LAYER_COLORS = "viridis"  # not the map's: a mean activation is no explanation
CHANNELS_SHOWN = 12
JPEG_QUALITY = 88

UInt8Array = npt.NDArray[np.uint8]


def data_uri(rgb: UInt8Array) -> str:
    """Return a picture as a JPEG data URI: it needs no file, so no browser can meet half of one."""
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG.")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


# --- status ------------------------------------------------------------------------------------


def status(text: str, kind: str = "idle", done: int = 0, total: int = 0) -> str:
    """Return the status line; kind is idle, busy, done or error."""
    bar = ""
    if kind == "busy":
        width = f"width:{100 * done / total:.1f}%" if total else ""
        known = "" if total else " gc-unknown"
        bar = f'<div class="gc-bar{known}"><div style="{width}"></div></div>'
    role = "alert" if kind == "error" else "status"
    return (
        f'<div class="gc-status gc-{kind}" role="{role}"><span class="gc-dot"></span>'
        f"<span>{escape(text)}</span></div>{bar}"
    )


def loading_status(event: Loading) -> str:
    """Return the status line while a backbone is loaded."""
    text = f"{event.text} …"
    if event.total:
        text = say(
            "status.megabytes", work=event.text, done=event.done / 1e6, total=event.total / 1e6
        )
    return status(text, "busy", event.done, event.total)


def working_status(text: str, done: int, total: int) -> str:
    """Return the status line of work that is counted in forward passes."""
    return status(say("status.counted", work=text, done=done, total=total), "busy", done, total)


def finished_text(run: Run) -> str:
    """Return the sentence that stands when everything is done."""
    explanation = run.explanation
    text = say(
        "status.done", seconds=explanation.elapsed_s, forward_passes=explanation.forward_passes
    )
    return text if run.caveat is None else f"{text} {run.caveat}"


# --- map ---------------------------------------------------------------------------------------


def viewer(run: Run, color_map: str) -> dict[str, Any]:
    """Return what assets/viewer.js draws: the picture, the heatmap and where it lies."""
    explanation = run.explanation
    value = _viewer(run, explanation.saliency_map, color_map, caption(run))
    if explanation.blank_reason:
        return value | {"heat": "", "blank": explanation.why_blank}
    return value | {"words": words(run, explanation.saliency_map)}


def words(place: Placed, saliency_map: Tensor) -> str:
    """Return a sentence about the part of a map, (H, W), that lies on the picture."""
    text = describe(inner_part(saliency_map, place.inner))
    return f"{text[0].upper()}{text[1:]}."


def sharpening(scoring: Scoring, saliency_map: Tensor, color_map: str) -> dict[str, Any]:
    """Return what assets/viewer.js draws while groups are being scored; the map is (H, W)."""
    text = say("viewer.sharpening", done=scoring.done, total=scoring.total)
    value = _viewer(scoring, saliency_map, color_map, text)
    return value if saliency_map.any() else value | {"heat": ""}


def _viewer(shown: Shown, saliency_map: Tensor, color_map: str, text: str) -> dict[str, Any]:
    height, width = shown.picture.rgb.shape[:2]
    top, left, bottom, right = shown.box
    seen_map = inner_part(saliency_map.numpy(), shown.inner)
    shape = (bottom - top, right - left)
    scale = HEAT_SIDE_PX / max(shape)
    size = (max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale)))  # OpenCV: (W, H)
    heat = heatmap(
        np.clip(cv2.resize(seen_map, size, interpolation=cv2.INTER_LINEAR), 0, 1), color_map
    )
    colors = matplotlib.colormaps[color_map](np.linspace(0, 1, 9))
    return {
        "picture": data_uri(downscale(shown.picture.rgb, SHOWN_SIDE_PX)),
        "heat": data_uri(heat),
        "box": [left / width, top / height, (right - left) / width, (bottom - top) / height],
        "aspect": width / height,
        "colors": [matplotlib.colors.to_hex(color) for color in colors],
        "caption": text,
        "words": "",
        "blank": "",
    }


def caption(run: Run) -> str:
    """Return one line that says what is shown and with which settings it was made."""
    explanation = run.explanation
    return say(
        "viewer.caption",
        label=explanation.class_label,
        probability=explanation.probability,
        backbone=run.choice.backbone.text,
        layer=explanation.target_layer,
        groups=explanation.config.groups,
        blur=explanation.config.blur_sigma_px,
    )


def saved_overlay(run: Run, color_map: str, opacity: float) -> UInt8Array:
    """Return the overlay at the picture's own size, as far as that is bounded."""
    return overlay_of(run.picture, run, run.explanation.saliency_map, color_map, opacity)


def overlay_of(
    full: Picture,
    place: Placed,
    saliency_map: Tensor,
    color_map: str,
    opacity: float,
    *,
    longest_side_px: int = SAVED_SIDE_PX,
) -> UInt8Array:
    """Return a map, (H, W), blended on the picture, whose longest side is bounded."""
    height, width = place.size_hw
    picture = downscale(full.rgb, longest_side_px)
    scale = picture.shape[0] / height
    top, left, bottom, right = (round(edge * scale) for edge in place.box)
    bottom, right = min(bottom, picture.shape[0]), min(right, picture.shape[1])
    return overlay(
        picture,
        inner_part(saliency_map.numpy(), place.inner),
        color_map=color_map,
        opacity=opacity,
        box=None if place.box == (0, 0, height, width) else (top, left, bottom, right),
    )


# --- target layers -----------------------------------------------------------------------------


def layers(
    found: Sequence[TargetLayer],
    chosen: str | None = None,
    means: Mapping[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Return what assets/layers.js draws: the layers by stage, each with its mean activation.

    Args:
        found: the layers in execution order.
        chosen: the name of the chosen one; None: the default.
        means: for each layer's name its mean activation (h, w); None before there is a picture.
    """
    if chosen is None:
        chosen = next((layer.name for layer in found if layer.default), None)
    columns = 8
    sheet = np.zeros((-(-len(found) // columns) * LAYER_PX, columns * LAYER_PX, 3), np.uint8)
    stages: list[dict[str, Any]] = []
    for grid, members in itertools.groupby(enumerate(found), key=lambda one: one[1].shape[1:]):
        entries = []
        for place, layer in members:
            row, column = divmod(place, columns)
            if means is not None:
                sheet[
                    row * LAYER_PX : (row + 1) * LAYER_PX,
                    column * LAYER_PX : (column + 1) * LAYER_PX,
                ] = _layer_picture(means[layer.name])
            entries.append(
                {
                    "name": layer.name,
                    "shape": " × ".join(map(str, layer.shape)),
                    "tile": None if means is None else place,
                    "usable": layer.usable,
                    "reason": layer.reason or "",
                    "isDefault": layer.default,
                }
            )
        cells = f"{grid[0]} × {grid[1]}"
        if len(entries) == 1:
            title = say("layers.one_layer", cells=cells)
        else:
            title = say("layers.several_layers", cells=cells, count=len(entries))
        stages.append({"title": title, "layers": entries})
    return {
        "stages": stages,
        "chosen": chosen,
        "sprite": "" if means is None else data_uri(sheet),
        "columns": columns,
        "rows": sheet.shape[0] // LAYER_PX,
    }


def _layer_picture(mean: Tensor) -> UInt8Array:
    """Return a mean activation (h, w) as a small picture."""
    values = _scaled(mean).numpy()
    size = (LAYER_PX, LAYER_PX)
    is_coarse = max(values.shape) < LAYER_PX
    how = cv2.INTER_NEAREST if is_coarse else cv2.INTER_AREA
    return heatmap(np.clip(cv2.resize(values, size, interpolation=how), 0, 1), LAYER_COLORS)


# --- group masks -------------------------------------------------------------------------------


def masks(run: Run) -> dict[str, Any]:
    """Return what assets/masks.js draws: one sprite with all tiles, and the numbers of each."""
    explanation = run.explanation
    order = groups_by_weight(explanation.group_weights.numpy())
    # Many groups get smaller tiles, so that the sprite stays below a few megapixels.
    side = TILE_PX if len(order) <= 128 else 72 if len(order) <= 512 else 40
    seen = np.asarray(
        cv2.resize(_seen(run, 2 * side), (side, side), interpolation=cv2.INTER_AREA), np.uint8
    )
    columns = min(16, len(order))
    sheet = np.zeros((-(-len(order) // columns) * side, columns * side, 3), np.uint8)
    tiles = []
    weights = explanation.group_weights.tolist()
    masked = explanation.masked_probability.tolist()
    is_dead = explanation.is_dead_group.tolist()
    group_masks = inner_part(explanation.group_masks, run.inner)
    for place, group in enumerate(order):
        row, column = divmod(place, columns)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = masked_tile(
            seen, group_masks[group].numpy()
        )
        tiles.append(
            {
                "group": group,
                "caption": mask_caption(group, weights[group], is_empty=is_dead[group]),
                "weight": weights[group],
                "masked": masked[group],
                "dead": is_dead[group],
            }
        )
    return {
        "sprite": data_uri(sheet),
        "columns": columns,
        "rows": sheet.shape[0] // side,
        "tiles": tiles,
        "blurred": explanation.baseline_probability,
        "label": explanation.class_label,
    }


def mask_detail(run: Run, group: int, color_map: str) -> str:
    """Return one group in full: its mask, what the network saw through it, its channels."""
    explanation = run.explanation
    mask = explanation.group_masks[group]
    preprocessing = run.preprocessing
    config = explanation.config
    inputs = run.capture.inputs.cpu()
    blurred = gaussian_blur(inputs, config.blur_sigma_px, config.blur_kernel_px)
    seen = preprocessing.to_rgb(inputs)[0]
    through = preprocessing.to_rgb(masked_inputs(inputs, blurred, mask[None]))[0]
    weight = float(explanation.group_weights[group])
    if bool(explanation.is_dead_group[group]):
        score = "empty"
    else:
        score = "gain" if weight > 0 else "no_gain"
    verdict = say(
        f"detail.score_{score}",
        label=f"<b>{escape(explanation.class_label)}</b>",
        masked=float(explanation.masked_probability[group]),
        blurred=explanation.baseline_probability,
        weight=f"<b>{weight:.4f}</b>",
    )
    title = escape(say("detail.title", group=group + 1))
    return (
        f'<section class="gc-detail" aria-label="{title}">'
        f"<h4>{title}</h4><p>{verdict}</p>"
        '<div class="gc-row">'
        + _figure(overlay(seen, mask.numpy(), color_map=color_map), say("detail.mask"))
        + _figure(through, say("detail.masked_input"))
        + "</div>"
        + _channels(run, group, color_map)
        + "</section>"
    )


def _channels(run: Run, group: int, color_map: str) -> str:
    """Return the channels of a group that weigh most, with their activation maps."""
    members = (run.explanation.channel_groups == group).nonzero()[:, 0]
    if len(members) == 0:
        return f"<p>{escape(say('detail.no_channel'))}</p>"
    weights = run.capture.channel_weights[0].cpu()
    activations = run.capture.activations[0].cpu()  # (C, h, w)
    strength = (weights[:, None, None] * activations).abs().sum(dim=(1, 2))[members]
    shown = members[strength.argsort(descending=True)[:CHANNELS_SHOWN]]
    figures = "".join(
        _figure(
            heatmap(_enlarged(activations[channel]), color_map),
            f"#{int(channel)} · {float(weights[channel]):+.2g}",
        )
        for channel in shown
    )
    which = "all" if len(members) == len(shown) else "strongest"
    heading = escape(say(f"detail.channels_{which}", count=len(members), shown=len(shown)))
    return f'<h5>{heading}</h5><div class="gc-channels">{figures}</div>'


def _enlarged(activation: Tensor) -> npt.NDArray[np.float32]:
    """Return one channel scaled to [0, 1], large enough to be a crisp small picture."""
    values = _scaled(activation)
    factor = max(1, 70 // max(values.shape))
    large: npt.NDArray[np.float32] = np.kron(
        values.numpy(), np.ones((factor, factor), np.float32)
    ).astype(np.float32)
    return large


def _scaled(values: Tensor) -> Tensor:
    """Return values scaled to [0, 1]; equal ones become 0."""
    values = values - values.min()
    return values / values.max().clamp(min=torch.finfo(torch.float32).tiny)


def _seen(run: Run, longest_side: int) -> UInt8Array:
    """Return the part of the picture that the network saw."""
    top, left, bottom, right = run.box
    return downscale(np.ascontiguousarray(run.picture.rgb[top:bottom, left:right]), longest_side)


def _figure(rgb: UInt8Array, text: str) -> str:
    """Return a picture with a caption."""
    shown = escape(text)
    picture = f'<img src="{data_uri(rgb)}" alt="{shown}">'
    return f"<figure>{picture}<figcaption>{shown}</figcaption></figure>"
