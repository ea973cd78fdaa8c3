"""What each module of a network gives: seen by running it, not guessed from its name.

One probe (a forward pass over five versions of a made-up picture, then one forward and backward
pass of the first) tells of every named module whether its output holds a spatial map, how that map
is laid out (see `layouts.py`), and whether the class depends on it. The other four pictures differ
from the first in one band each: top, bottom, left, right.

An output may be a tensor or tensors in tuples, lists and dictionaries; a module may run several
times. Of all the maps that a module gives, the last one that the class depends on is taken.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from groupcam.models.backbone import Backbone
from groupcam.models.layouts import LayoutReader, MapLayout, to_nchw

PROBE_SEED = 0
PROBE_DETAIL = 4  # the made-up picture has one random patch per 1/4 of the band
BAND_FRACTION = 4  # the changed band is a quarter of the picture

Path = tuple[int | str, ...]  # keys and indices that lead to a tensor in a module's output
Hook = Callable[[str, nn.Module, tuple[Any, ...], object], None]


@dataclass(eq=False)
class MapOutput:
    """A map in the output of one call of a module; `edge` names it in the autograd graph.

    The tensor itself is not kept: a later in-place operation gets a new edge, so the gradient
    asked for is that of the module's own output even if its memory was overwritten.
    """

    where: MapLayout
    path: Path
    call: int
    order: int  # among all outputs of the network
    edge: GradientEdge | None
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


def run_probe(backbone: Backbone) -> list[ModuleRecord]:
    """Return a record per module that runs, in the order of their maps."""
    # Tensors made in a caller's inference mode could not carry gradients.
    with backbone.frozen(), torch.inference_mode(False):
        pictures = _probe_pictures(backbone)
        layouts = _probe_layouts(backbone, pictures)
        return _probe_gradients(backbone, pictures[:1].clone(), layouts)


def tensors_in(output: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield every tensor in a module's output with the path that leads to it."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from tensors_in(value, (*path, key))
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for index, value in enumerate(output):
            yield from tensors_in(value, (*path, index))


def _probe_layouts(backbone: Backbone, pictures: Tensor) -> dict[tuple[str, int, Path], MapLayout]:
    """Return the layout of each map by module, call and path."""
    layouts = {}
    height, width = backbone.preprocessing.input_size
    reader = LayoutReader(width / height)
    calls: Counter[str] = Counter()

    def look_at(name: str, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        for path, tensor in tensors_in(output):
            if tensor.ndim in (3, 4) and len(tensor) == len(pictures):
                where = reader.read((tensor[1:] - tensor[:1]).float())
                if where is not None:
                    layouts[name, calls[name], path] = where
        calls[name] += 1

    with torch.no_grad(), _output_hooks(backbone.network, look_at):
        backbone.logits(pictures)
    return layouts


def _probe_gradients(
    backbone: Backbone, picture: Tensor, layouts: dict[tuple[str, int, Path], MapLayout]
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
        weighted_leaves += _is_leaf(module) and _is_weighted(module)
        first = next((tensor for _, tensor in tensors_in(inputs)), None)
        tensors = list(tensors_in(output))
        gives[name] = ", ".join(str(tuple(tensor.shape)) for _, tensor in tensors)
        for path, tensor in tensors:
            where = layouts.get((name, calls[name], path))
            if where is None:
                continue
            found = MapOutput(
                where=where,
                path=path,
                call=calls[name],
                order=order,
                edge=get_gradient_edge(tensor) if tensor.requires_grad else None,
                input_shape=() if first is None else tuple(first.shape[1:]),
                weighted_before=weighted_leaves,
            )
            maps.setdefault(name, []).append(found)
            order += 1
        calls[name] += 1

    with torch.enable_grad(), _output_hooks(backbone.network, remember):
        top_logit = backbone.logits(picture.requires_grad_(True)).max()
    _find_problems([found for of_module in maps.values() for found in of_module], top_logit)

    records = [
        ModuleRecord(
            name=name,
            leaf=_is_leaf(module),
            weighted=_is_weighted(module),
            calls=calls[name],
            map=_choose_map(maps.get(name, [])),
            gives=gives[name],
        )
        for name, module in modules.items()
    ]
    return sorted(records, key=lambda record: -1 if record.map is None else record.map.order)


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _is_weighted(module: nn.Module) -> bool:
    return any(parameter.ndim >= 2 for parameter in module.parameters())


def _choose_map(maps: list[MapOutput]) -> MapOutput | None:
    """Return the map that stands for a module: of its last usable call the first usable one."""
    usable = [found for found in maps if found.reason is None] or maps
    return next((found for found in usable if found.call == usable[-1].call), None)


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


@contextmanager
def _output_hooks(network: nn.Module, remember: Hook) -> Iterator[None]:
    """Call `remember` with each named module's output; no hook outlives the block."""
    handles = []

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Any, ...], object], None]:
        return lambda module, inputs, output: remember(name, module, inputs, output)

    try:
        for name, module in network.named_modules():
            if name:
                handles.append(module.register_forward_hook(hook_for(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _probe_pictures(backbone: Backbone) -> Tensor:
    """Return five normalised made-up pictures (5, 3, H, W): one, then it with a band changed."""
    preprocessing = backbone.preprocessing
    height, width = preprocessing.input_size
    generator = torch.Generator().manual_seed(PROBE_SEED)
    patches = torch.rand(
        2, 3, BAND_FRACTION * PROBE_DETAIL, BAND_FRACTION * PROBE_DETAIL, generator=generator
    )
    plain, other = functional.interpolate(patches, size=(height, width), mode="nearest")
    high, wide = -(-height // BAND_FRACTION), -(-width // BAND_FRACTION)
    pictures = plain.repeat(5, 1, 1, 1)
    pictures[1, :, :high] = other[:, :high]  # top
    pictures[2, :, -high:] = other[:, -high:]  # bottom
    pictures[3, :, :, :wide] = other[:, :, :wide]  # left
    pictures[4, :, :, -wide:] = other[:, :, -wide:]  # right
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    normalised: Tensor = (pictures - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    return normalised.to(backbone.device)
