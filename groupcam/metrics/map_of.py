"""A method as the metrics see it: any function that makes maps, asked in one place."""

from collections.abc import Callable

import torch
from torch import Tensor

from groupcam.metrics.perturbed import check_maps
from groupcam.models import Backbone

MapOf = Callable[[Backbone, Tensor, Tensor], Tensor]
"""(backbone, normalised inputs (N, 3, H, W), class_index (N,)) -> saliency maps (N, H, W).

The metrics call it with other networks, inputs and input sizes than the ones explained, so a target
layer must be given to it by name and not by what one network's pass showed.
"""


def maps_of(map_of: MapOf, backbone: Backbone, inputs: Tensor, class_index: Tensor) -> Tensor:
    """Return the method's maps, float32 (N, H, W) on the CPU.

    Raises:
        GroupCamError: the method gave maps of another size, or values that are not finite.
    """
    maps = map_of(backbone, inputs, class_index).detach().to("cpu", torch.float32)
    check_maps(inputs, maps)
    return maps
