"""What a method's map costs: seconds and forward passes of the network.

* run time: the median seconds a picture over some repeats, after two maps that are not timed
  (one warms caches up, one counts passes); in [0, inf), lower is better;
* forward passes: pictures that went through the network for one map; lower is better. A backward
  pass is not counted: it costs about two forward passes more where a method needs one.

Costs 2 + repeats maps.

Known flaw: seconds belong to one machine, its load and its number of cores; compare methods only on
one machine, in turns. Forward passes leave out what happens between them.
"""

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.metrics.map_of import MapOf, maps_of
from groupcam.models import Backbone


@dataclass(frozen=True)
class MapCost:
    """What one map costs."""

    seconds: float  # median of a picture
    forward_passes: float  # of a picture; a mean where pictures differ


def measure_cost(
    backbone: Backbone,
    inputs: Tensor,
    class_index: Tensor,
    map_of: MapOf,
    *,
    repeats: int = 3,
) -> MapCost:
    """Return what the method's maps of some pictures cost, a picture.

    Args:
        backbone: see `load_backbone`; timed as it is, prepared or not.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        class_index: the class of each picture, (N,).
        map_of: the method.
        repeats: how often it is timed, at least 1.

    Raises:
        GroupCamError: there is nothing to repeat.
    """
    if repeats < 1 or len(inputs) == 0:
        raise GroupCamError(
            "There must be a picture and a repeat to be timed; got "
            f"{len(inputs)} pictures and repeats={repeats}."
        )
    # What a method finds out once about a network is no part of a map's cost.
    maps_of(map_of, backbone, inputs, class_index)
    # Counted apart from the timing: a network that is watched is not run as a graph.
    passes = count_forward_passes(backbone, inputs, class_index, map_of)
    seconds = []
    for _ in range(repeats):
        _wait_for(inputs)
        started = time.perf_counter()
        maps_of(map_of, backbone, inputs, class_index)
        _wait_for(inputs)
        seconds.append(time.perf_counter() - started)
    return MapCost(statistics.median(seconds) / len(inputs), passes / len(inputs))


def count_forward_passes(
    backbone: Backbone, inputs: Tensor, class_index: Tensor, map_of: MapOf
) -> int:
    """Return how many pictures go through the network while the method makes its maps."""
    count = 0

    def note(_module: nn.Module, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if arguments and isinstance(arguments[0], Tensor):
            count += len(arguments[0])

    with backbone.lock:  # nobody else's passes are counted
        handle = backbone.network.register_forward_pre_hook(note)
        try:
            maps_of(map_of, backbone, inputs, class_index)
        finally:
            handle.remove()
    return count


def _wait_for(inputs: Tensor) -> None:
    """Wait until the device has done what it was given."""
    if inputs.is_cuda:
        torch.cuda.synchronize(inputs.device)
