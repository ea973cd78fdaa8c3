"""Random: a control that knows nothing, as coarse as a cam.

A grid of uniform random values, resized to the picture; the same for every picture. A metric that
does not put it last measures something else. Costs no pass.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Maps,
    Method,
    Progress,
    Steps,
    generator_of,
    require_at_least,
    require_room,
    size_of,
    to_maps,
)


def random_map(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    cells: int = 7,
    seed: int = 0,
) -> Steps:
    """Return the steps of the random control; see `Method`.

    Args:
        cells: side of the grid.
        seed: of the values.
    """
    require_at_least("cells", cells, 1)
    require_room("cells", cells, cells**2)
    yield Progress(0, 0)
    values = torch.rand(1, cells, cells, generator=generator_of(seed))
    maps: Maps = to_maps(values.expand(len(inputs), -1, -1), size_of(inputs), 0, 0)
    return maps


METHODS = (Method("random", "Random", "", "control", random_map),)
