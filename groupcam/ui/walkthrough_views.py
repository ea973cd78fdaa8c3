"""One run as what assets/steps.js draws: pictures as data URIs, and plain dictionaries.

Everything is shown on the picture as the network saw it, so a mask covers exactly all of it.
"""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.images import downscale
from groupcam.render.figures import groups_by_weight
from groupcam.render.heatmap import heatmap
from groupcam.saliency.group_cam import whole_to_merge
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.scoring import masked_inputs, min_max_scale, upsample_masks
from groupcam.saliency.subset import map_of_groups
from groupcam.ui import views
from groupcam.ui.runs import Run
from groupcam.ui.walkthrough import (
    PARTS_SHOWN,
    TERMS_SHOWN,
    contributions,
    formulas,
    number,
    numbers_of,
    sampled,
    sentences,
    strongest_channels,
)

SIDE_PX = 256  # longest side of pictures
CELLS = 56  # a channel's picture has at most so many cells a side
SPRITE_PX = 150_000  # pixels of the sheet of all masks
CHANNELS_SHOWN = 6
CURVE_POINTS = 120


def run_id(run: Run) -> str:
    """Return what tells one run from another on the page."""
    return str(hash(run.choice))


def overview(run: Run, color_map: str) -> dict[str, Any]:
    """Return what does not depend on the chosen group, and the heaviest group."""
    explanation = run.explanation
    weights = explanation.group_weights
    order = groups_by_weight(weights.numpy())
    config = explanation.config
    sizes = torch.bincount(explanation.channel_groups, minlength=config.groups)
    inputs, blurred = _inputs(run)
    to_rgb = run.preprocessing.to_rgb
    height, width = inputs.shape[-2:]
    return {
        "run": run_id(run),
        "caption": views.caption(run),
        "label": explanation.class_label,
        "picture": views.data_uri(downscale(to_rgb(inputs)[0], SIDE_PX)),
        "blurred": views.data_uri(downscale(to_rgb(blurred)[0], SIDE_PX)),
        "aspect": width / height,
        "pPicture": number(explanation.probability),
        "pBlurred": number(explanation.baseline_probability),
        "channels": _channels(run, color_map),
        "channelCount": len(explanation.channel_groups),
        "order": order,
        "alphas": [float(f"{float(weights[group]):.4g}") for group in order],
        "sizes": [int(sizes[group]) for group in order],
        "dead": [bool(explanation.is_dead_group[group]) for group in order],
        "sprite": _sprite(explanation.cell_masks[order]),
        "terms": _terms(run, color_map),
        "settings": {
            "target_layer": explanation.target_layer,
            "groups": config.groups,
            "grouping": config.grouping,
            "is_denoised": config.percentile is not None,
            "percentile": config.percentile,
            "blur_sigma_px": config.blur_sigma_px,
            "merge": config.merge,
        },
        "map": switched(run, order, color_map),
        "detail": group_view(run, order[0], color_map),
    }


def group_view(run: Run, group: int, color_map: str) -> dict[str, Any]:
    """Return everything about one group, 0..G-1."""
    explanation = run.explanation
    told = numbers_of(run, group)
    inputs, blurred = _inputs(run)
    size = (inputs.shape[-2], inputs.shape[-1])
    mask = min_max_scale(upsample_masks(explanation.cell_masks[group], size))  # (H, W)
    seen = run.preprocessing.to_rgb(masked_inputs(inputs, blurred, mask[None]))[0]
    members = contributions(run)[list(told.channels)]  # (members, h, w)
    shown = members[:PARTS_SHOWN]
    brightest = float(shown.max()) if len(shown) else 0.0
    whole = explanation.whole_masks[group]
    return {
        "run": run_id(run),
        "group": group,
        "say": sentences(run, told),
        "formula": formulas(run, told),
        "members": [
            {
                "name": f"#{channel}",
                "picture": _cells_uri(_over(one, brightest), color_map),
                "adds": number(part),
            }
            for channel, one, part in zip(told.channels, shown, told.parts, strict=False)
        ],
        "memberCount": len(told.channels),
        "whole": _cells_uri(_over(whole, told.peak), color_map),
        "denoised": _cells_uri(_over(explanation.cell_masks[group], told.peak), color_map),
        "cells": sampled(whole, CURVE_POINTS),
        "cellCount": whole.numel(),
        "threshold": told.threshold,
        "kept": told.kept,
        "dead": told.is_dead,
        "seen": views.data_uri(downscale(seen, SIDE_PX)),
        "pMasked": number(told.masked),
        "alpha": number(told.weight),
        "rank": told.rank,
        "share": told.share,
    }


def switched(run: Run, groups: Sequence[Any], color_map: str) -> dict[str, Any]:
    """Return the map of the groups that are on; `groups` is what anybody may have sent."""
    try:
        saliency_map, blank = map_of_groups(run.explanation, groups)
    except (GroupCamError, TypeError) as error:
        return {"run": run_id(run), "heat": "", "words": "", "blank": str(error)}
    if blank:
        return {"run": run_id(run), "heat": "", "words": "", "blank": blank}
    heat, words = _heat_uri(saliency_map, color_map), views.words(run, saliency_map)
    return {"run": run_id(run), "heat": heat, "words": words, "blank": ""}


# --- pictures ------------------------------------------------------------------------------------


def _inputs(run: Run) -> tuple[Tensor, Tensor]:
    """Return the picture and the blurred one as the network saw them, (1, 3, H, W)."""
    config = run.explanation.config
    inputs = run.capture.inputs.cpu()
    return inputs, gaussian_blur(inputs, config.blur_sigma_px, config.blur_kernel_px)


def _channels(run: Run, color_map: str) -> list[dict[str, Any]]:
    """Return the channels that weigh most, each with its picture."""
    weights = run.capture.channel_weights[0].cpu()
    activations = run.capture.activations[0].cpu()  # (C, h, w)
    return [
        {
            "name": f"#{channel}",
            "weight": number(float(weights[channel])),
            "helps": float(weights[channel]) > 0,
            "group": int(run.explanation.channel_groups[channel]),
            "picture": _cells_uri(min_max_scale(activations[channel]), color_map),
        }
        for channel in strongest_channels(run, CHANNELS_SHOWN)
    ]


def _terms(run: Run, color_map: str) -> dict[str, Any]:
    """Return the heaviest masks as they are merged."""
    explanation = run.explanation
    weights = explanation.group_weights
    scored = int((weights > 0).sum())
    merge = explanation.config.merge
    masks = explanation.cell_masks
    if merge in ("whole", "balanced"):
        masks = whole_to_merge(explanation.whole_masks[None], merge)[0]
    shown = groups_by_weight(weights.numpy())[: min(TERMS_SHOWN, scored)]
    brightest = float(masks[shown].max()) if shown else 0.0
    return {
        "more": scored - len(shown),
        "shown": [
            {
                "group": group,
                "alpha": number(float(weights[group])),
                "picture": _cells_uri(
                    min_max_scale(masks[group])
                    if merge == "normalized"
                    else _over(masks[group], brightest),
                    color_map,
                ),
            }
            for group in shown
        ],
    }


def _sprite(cell_masks: Tensor) -> dict[str, Any]:
    """Return all masks, (G, h, w), each scaled to 0..1, as grey tiles of one PNG."""
    count, height, width = cell_masks.shape
    scale = min(1.0, (SPRITE_PX / (count * height * width)) ** 0.5)
    tile_h, tile_w = max(1, round(height * scale)), max(1, round(width * scale))
    columns = min(16, count)
    sheet = np.zeros((-(-count // columns) * tile_h, columns * tile_w), np.uint8)
    for place, mask in enumerate(min_max_scale(cell_masks).numpy()):
        row, column = divmod(place, columns)
        # OpenCV: (W, H)
        small = cv2.resize(mask, (tile_w, tile_h), interpolation=cv2.INTER_AREA)
        sheet[row * tile_h : (row + 1) * tile_h, column * tile_w : (column + 1) * tile_w] = np.rint(
            255 * small
        )
    return {"sheet": _png_uri(sheet), "columns": columns, "tileW": tile_w, "tileH": tile_h}


def _heat_uri(saliency_map: Tensor, color_map: str) -> str:
    """Return a map, (H, W), in colours and small."""
    return views.data_uri(downscale(heatmap(saliency_map.numpy(), color_map), SIDE_PX))


def _cells_uri(values: Tensor, color_map: str) -> str:
    """Return values (h, w) in [0, 1] in colours, one pixel a cell: the browser enlarges them."""
    cells = downscale(heatmap(values.numpy(), color_map), CELLS)
    return _png_uri(cv2.cvtColor(cells, cv2.COLOR_RGB2BGR))


def _over(values: Tensor, brightest: float) -> Tensor:
    """Return values as parts of the brightest one, in [0, 1]; 0 where there is none."""
    return (values / brightest).clamp(0, 1) if brightest > 0 else torch.zeros_like(values)


def _png_uri(pixels: Any) -> str:
    """Return grey or BGR pixels as a PNG data URI."""
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG.")
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()
