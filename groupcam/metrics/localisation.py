"""Does the map lie on the object? Energy pointing game and pointing game, from boxes.

metric                a picture's value                                      range    better
energy pointing game  sum of S inside the boxes / sum of S                   [0, 1]   high
pointing game         1 if the peak of S is within 15 px of a box, else 0    0 or 1   high

S is the map of the class, the boxes are those of its category, brought to the network's input.
Both cost nothing beyond the map.

Ties: of equal peaks the first in reading order counts. A flat map points nowhere: it misses, and
its energy is the boxes' share of the input (0 where it is all zeros).

Reference:
    Energy pointing game: Wang et al. 2020 (Score-CAM), arXiv:1910.01279. Pointing game, with its
    tolerance of 15 pixels: Zhang, Lin, Brandt, Shen, Sclaroff 2016, arXiv:1608.00507; accuracy is
    hits / pictures, which the mean over pictures gives.

Known flaws: a network may rightly look at something outside the box (water for a boat); a box that
covers most of the picture is always hit, so compare with the boxes' share of the input. Pointing
looks at one pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.annotations import ObjectBox
from groupcam.models import Preprocessing, View

TOLERANCE_PX = 15


def box_mask(
    boxes: Sequence[ObjectBox],
    preprocessing: Preprocessing,
    size_hw: tuple[int, int],
    view: View = "crop",
) -> Tensor:
    """Return which pixels of the input are inside any box, bool (H, W).

    A pixel is inside where its centre is. Boxes go the way of the picture: resized with it, and cut
    off with what the view cuts off, so that none may be left.

    Args:
        boxes: in pixels of the picture.
        preprocessing: the backbone's.
        size_hw: the picture's (H, W) in pixels.
        view: the one that the map was made with.
    """
    top, left, bottom, right = preprocessing.box(size_hw, view)  # of the picture
    inner = preprocessing.inner(size_hw, view)  # the same part, of the input
    rows = (inner[2] - inner[0]) / (bottom - top)  # pixels of the input in one of the picture
    columns = (inner[3] - inner[1]) / (right - left)
    height, width = preprocessing.input_size
    y = (torch.arange(height) + 0.5 - inner[0]) / rows + top  # centres, in pixels of the picture
    x = (torch.arange(width) + 0.5 - inner[1]) / columns + left
    mask = torch.zeros(height, width, dtype=torch.bool)
    for box in boxes:
        mask |= ((y > box.top) & (y < box.bottom))[:, None] & ((x > box.left) & (x < box.right))
    # Around the inner part there is only border.
    outside = torch.ones_like(mask)
    outside[inner[0] : inner[2], inner[1] : inner[3]] = False
    return mask & ~outside


def energy_pointing_game(saliency_maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of each map's sum that lies inside its boxes, (N,) in [0, 1].

    Args:
        saliency_maps: (N, H, W), >= 0.
        masks: bool (N, H, W), see `box_mask`; each must have a pixel.

    Raises:
        GroupCamError: a map and its mask do not fit, a map is negative or not finite, or a mask is
            empty.
    """
    _check(saliency_maps, masks)
    if (saliency_maps < 0).any():
        raise GroupCamError(
            "saliency_map must not be negative, or shares would not add up; got "
            f"{float(saliency_maps.min()):g}. Take its positive part."
        )
    energy = saliency_maps.double().sum(dim=(1, 2))
    inside = torch.where(masks, saliency_maps, 0).double().sum(dim=(1, 2))
    return torch.where(energy > 0, inside / torch.where(energy > 0, energy, 1), 0).float()


def pointing_game(
    saliency_maps: Tensor, masks: Tensor, tolerance_px: float = TOLERANCE_PX
) -> Tensor:
    """Return which maps have their peak in or near a box, bool (N,).

    Args:
        saliency_maps: (N, H, W), of any finite range.
        masks: bool (N, H, W), see `box_mask`; each must have a pixel.
        tolerance_px: how far from the nearest pixel of a box the peak may be, in pixels of the
            input, >= 0.

    Raises:
        GroupCamError: a map and its mask do not fit, a map is not finite, a mask is empty, or the
            tolerance is negative.
    """
    _check(saliency_maps, masks)
    if not tolerance_px >= 0:
        raise GroupCamError(f"tolerance_px must be at least 0; got {tolerance_px}.")
    hits = torch.zeros(len(masks), dtype=torch.bool)
    for picture, (saliency_map, mask) in enumerate(zip(saliency_maps, masks, strict=True)):
        if saliency_map.amax() == saliency_map.amin():
            continue
        # numpy's and torch's argmax do not promise the first of equal peaks.
        peak = (saliency_map == saliency_map.amax()).nonzero()[0]
        squares = (mask.nonzero() - peak.to(mask.device)).double().square().sum(dim=1)
        hits[picture] = bool(squares.min() <= tolerance_px**2)
    return hits


def _check(saliency_maps: Tensor, masks: Tensor) -> None:
    if saliency_maps.ndim != 3 or saliency_maps.shape != masks.shape or masks.dtype != torch.bool:
        raise GroupCamError(
            "Maps must be (N, H, W) and have a mask each, bool (N, H, W); got "
            f"{tuple(saliency_maps.shape)} and {masks.dtype} {tuple(masks.shape)}."
        )
    if not torch.isfinite(saliency_maps).all():
        raise GroupCamError("saliency_map must be finite; got NaN or infinite values.")
    empty = (~masks.flatten(1).any(dim=1)).nonzero()[:, 0].tolist()
    if empty:
        raise GroupCamError(
            "Every picture must have a box of the class in what the network sees; got none for "
            f"picture {empty[0]} ({len(empty)} in all). Leave such pictures out."
        )
