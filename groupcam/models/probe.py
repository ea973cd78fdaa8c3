"""What each module of a network gives: seen by running it, not guessed from its name.

One probe tells of every named module whether its output holds a spatial map and how the map is laid
out (see `bands.py`), and, by one forward and one backward pass, whether the class depends on it.

An output may be a tensor or tensors in tuples, lists and dictionaries; a module may run several
times. Of all the maps that a module gives, the last one that the class depends on is taken.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from groupcam.models.backbone import Backbone
from groupcam.models.bands import (
    FoundMap,
    FoundMaps,
    Place,
    find_maps,
    is_leaf,
    is_weighted,
    made_up_pictures,
    output_hooks,
    tensors_in,
)
from groupcam.models.layouts import MapLayout, to_nchw


@dataclass(eq=False)
class MapOutput:
    """A map in the output of one call of a module; `edge` names it in the autograd graph.

    The tensor itself is not kept: a later in-place operation gets a new edge, so the gradient
    asked for is that of the module's own output even if its memory was overwritten.
    """

    where: MapLayout
    place: Place
    order: int  # among all outputs of the network
    edge: GradientEdge | None
    handed_on: bool  # the module was given this tensor
    input_shape: tuple[int, ...]  # of the module's first argument, without the batch axis
    weighted_before: int  # weighted leaves that ran up to the end of this call
    reason: str | None = None  # why it cannot be used

    @property
    def shrinks(self) -> float:
        """Return how many times larger the grid is on entry, along the worse axis."""
        _, height, width = self.where.shape
        if len(self.input_shape) == 3:
            first = 0 if self.where.layout == "NHWC" else 1
            entry = self.input_shape[first : first + 2]
            return max(entry[0] / height, entry[1] / width)
        if len(self.input_shape) == 2:
            axis = 1 if self.where.layout == "tokens_last" else 0
            return math.sqrt(self.input_shape[axis] / (height * width))
        return 1.0


@dataclass(eq=False)
class ModuleRecord:
    """What one module gives; `map` is None where that is no spatial map."""

    name: str
    leaf: bool
    weighted: bool  # its subtree holds a tensor of 2 or more dimensions
    calls: int  # in one forward pass
    map: MapOutput | None
    gives: str  # the shapes of its tensors, "" for none


@dataclass(frozen=True, eq=False)
class Probe:
    """What the probe found out about a network."""

    records: list[ModuleRecord]  # of every module that runs, in the order of their maps
    found: FoundMaps


def run_probe(backbone: Backbone) -> Probe:
    """Run the network to find its maps, and which of them the class depends on."""
    # Tensors made in a caller's inference mode could not carry gradients.
    with backbone.frozen(), torch.inference_mode(False):
        found = find_maps(backbone)
        return Probe(_probe_gradients(backbone, made_up_pictures(backbone, 1), found.maps), found)


def _probe_gradients(
    backbone: Backbone, picture: Tensor, found_maps: dict[Place, FoundMap]
) -> list[ModuleRecord]:
    """Return a record of each module, with the reason where its map cannot be used."""
    modules: dict[str, nn.Module] = {}
    maps: dict[str, list[MapOutput]] = {}
    gives: dict[str, str] = {}
    calls: Counter[str] = Counter()
    weighted_leaves = 0
    order = 0

    def remember(name: str, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        nonlocal weighted_leaves, order
        modules[name] = module
        weighted_leaves += is_leaf(module) and is_weighted(module)
        first = next((tensor for _, tensor in tensors_in(inputs)), None)
        tensors = list(tensors_in(output))
        gives[name] = ", ".join(str(tuple(tensor.shape)) for _, tensor in tensors)
        for path, tensor in tensors:
            place = Place(name, calls[name], path)
            if place not in found_maps:
                continue
            found = MapOutput(
                where=found_maps[place].where,
                place=place,
                order=order,
                edge=get_gradient_edge(tensor) if tensor.requires_grad else None,
                handed_on=any(tensor is given for _, given in tensors_in(inputs)),
                input_shape=() if first is None else tuple(first.shape[1:]),
                weighted_before=weighted_leaves,
            )
            maps.setdefault(name, []).append(found)
            order += 1
        calls[name] += 1

    with torch.enable_grad(), output_hooks(backbone.network, remember):
        top_logit = backbone.logits(picture.requires_grad_(True)).max()
    _find_problems([found for of_module in maps.values() for found in of_module], top_logit)

    records = [
        ModuleRecord(
            name=name,
            leaf=is_leaf(module),
            weighted=is_weighted(module),
            calls=calls[name],
            map=_choose_map(maps.get(name, [])),
            gives=gives[name],
        )
        for name, module in modules.items()
    ]
    return sorted(records, key=lambda record: -1 if record.map is None else record.map.order)


def _choose_map(maps: list[MapOutput]) -> MapOutput | None:
    """Return the map that stands for a module, or None if there is none.

    It is the last usable one. Of several scales, networks give the coarsest last; those that a
    module only hands on count less.
    """
    usable = [found for found in maps if found.reason is None] or maps
    of_last_call = [found for found in usable if found.place.call == usable[-1].place.call]
    own = [found for found in of_last_call if not found.handed_on] or of_last_call
    return own[-1] if own else None


def _find_problems(maps: list[MapOutput], top_logit: Tensor) -> None:
    """Set the reason of every map that the top logit does not depend on."""
    reached = [found for found in maps if found.edge is not None]
    gradients: Sequence[Tensor | None] = [None] * len(reached)
    if reached and top_logit.requires_grad:
        edges = [found.edge for found in reached if found.edge is not None]
        gradients = torch.autograd.grad(top_logit, edges, allow_unused=True)
    for found in maps:
        found.reason = _NO_GRADIENT
    for found, gradient in zip(reached, gradients, strict=True):
        found.reason = _gradient_problem(gradient, found.where)


_NO_GRADIENT = "is not connected to the class by a gradient"


def _gradient_problem(gradient: Tensor | None, where: MapLayout) -> str | None:
    if gradient is None:
        return _NO_GRADIENT
    # Only the map's own cells count: a class token may get all the gradient there is.
    largest = float(to_nchw(gradient, where).abs().amax())  # NaN if there is any
    if not math.isfinite(largest):
        return "has a gradient that is not finite"
    return None if largest > 0 else "has a gradient of zero everywhere"
