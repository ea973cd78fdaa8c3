"""A second proof of a layer's layout: by corners, with other pictures than the probe's.

The law: changing one corner of the picture changes the cells of that corner most. Each corner is
compared with the other three at the same cells, so that cells that follow everything count for
what they follow most. For tokens, no other way of cutting them into rows may fit better.

Where attention has mixed the picture so much that the probe had to change an earlier map (see
`bands.py`), so does the check, and then checks that earlier map, and so on up to the picture.
"""

from typing import Any

import torch
from torch import Tensor, nn

from groupcam.models.backbone import Backbone
from groupcam.models.bands import CORNERS, Place, differences_of, show_versions, tensors_in
from groupcam.models.layouts import MapLayout, corner_law_problem
from groupcam.models.target_layers import TargetLayer, found_maps

CHECK_SEED = 1
# One picture is enough for most layers; where attention mixes much, chance must be averaged out.
CHECK_PICTURES = (1, 4)


def check_layout(backbone: Backbone, layer: TargetLayer) -> str | None:
    """Return what speaks against a layer's layout, or None when it obeys the law of corners.

    Costs forward passes of five pictures, of twenty more where those are not enough, and the same
    again for every earlier map that the layout rests on.

    Args:
        backbone: the network.
        layer: one of its layers.
    """
    maps = found_maps(backbone)
    place = Place(layer.name, layer.call, layer.path)
    where: MapLayout = layer
    with backbone.frozen(), torch.inference_mode(False):
        while True:
            before = maps[place].source
            source = None if before is None else (before, maps[before].where)
            for pictures in CHECK_PICTURES:
                differences = _differences_at(backbone, place, source, pictures)
                problem = corner_law_problem(differences, where)
                if problem is None:
                    break
            else:
                return f"'{place.name}' {problem}"
            if source is None:
                break
            place, where = source
    return None


def _differences_at(
    backbone: Backbone, place: Place, source: tuple[Place, MapLayout] | None, pictures: int
) -> Tensor:
    """Return what changed corners add to the tensor at a place, (M, 4, ...)."""
    calls = 0
    found: list[Tensor] = []

    def take(_module: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        nonlocal calls
        if calls == place.call:
            found.append(differences_of(dict(tensors_in(output))[place.path]))
        calls += 1

    handle = backbone.network.get_submodule(place.name).register_forward_hook(take)
    try:
        show_versions(backbone, CORNERS, pictures=pictures, source=source, seed=CHECK_SEED)
    finally:
        handle.remove()
    return found[0]
