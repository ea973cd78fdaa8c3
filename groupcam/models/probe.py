"""What each module of a network gives: seen by running it, not guessed from its name.

One probe (a forward pass over five versions of a made-up picture, then one forward and backward
pass of the first) tells of every named module whether its output is a spatial map, how that map
is laid out, and whether the class depends on it.

Layout is decided from data. The other four pictures differ from the first in one band each: top,
bottom, left, right. Along a map's vertical axis the change caused by the bottom band is centred
further on than that caused by the top band, while left and right make no difference there; along
the horizontal axis it is the other way round; channels show neither. So attention matrices and
tokens in raster order, whose shapes can look like maps, are not mistaken for ones.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from groupcam.models.backbone import Backbone

Layout = Literal["NCHW", "NHWC"]

PROBE_SEED = 0
PROBE_DETAIL = 4  # the made-up picture has one random patch per 1/4 of the band
BAND_FRACTION = 4  # the changed band is a quarter of the picture
# How far apart the centres of two changes must be, in lengths of the axis, to count. Measured with
# random weights: 0.4 to 0.9 in convolutional networks, 0.1 to 0.9 in hybrids with attention, 0.03
# at the end of torchvision's maxvit_t, which mixes most; channels stay below 0.02.
CLEAR_SHIFT = 0.02
STRONG_SHIFT = 0.2  # no doubt left: an axis of the picture
LAYOUT_OF_AXES: dict[tuple[int, int], Layout] = {(1, 2): "NCHW", (0, 1): "NHWC"}


@dataclass(eq=False)
class ModuleOutput:
    """The output of one module in the probe; `edge` names the tensor in the autograd graph.

    The tensor itself is not kept: a later in-place operation gets a new edge, so the gradient
    asked for is that of the module's own output even if its memory was overwritten.
    """

    name: str
    leaf: bool
    weighted: bool  # its subtree holds a tensor of 2 or more dimensions
    output_shape: tuple[int, ...]  # without the batch axis
    input_shape: tuple[int, ...]
    layout: Layout | None
    edge: GradientEdge | None
    weighted_before: int  # weighted leaves that ran up to the end of this module
    reason: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the map's (C, h, w); only for outputs with a layout."""
        a, b, c = self.output_shape
        return (a, b, c) if self.layout == "NCHW" else (c, a, b)

    @property
    def shrinks(self) -> float:
        """Return how many times larger the grid is on entry, along the worse axis."""
        if len(self.input_shape) != 3:
            return 1.0
        axes = (1, 2) if self.layout == "NCHW" else (0, 1)
        return max(self.input_shape[axis] / self.output_shape[axis] for axis in axes)


def run_probe(backbone: Backbone) -> list[ModuleOutput]:
    """Return a record per module output, in execution order."""
    # Tensors made in a caller's inference mode could not carry gradients.
    with backbone.frozen(), torch.inference_mode(False):
        pictures = _probe_pictures(backbone)
        layouts = _probe_layouts(backbone, pictures)
        return _probe_gradients(backbone, pictures[:1].clone(), layouts)


def _probe_layouts(backbone: Backbone, pictures: Tensor) -> dict[str, Layout | None]:
    """Return the layout of each module's output, None where it is no spatial map."""
    layouts: dict[str, Layout | None] = {}
    input_size = backbone.preprocessing.input_size

    def look_at(name: str, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if name not in layouts:  # the first call decides, as for the gradient
            layouts[name] = _layout_of(output, input_size)

    with torch.no_grad(), _output_hooks(backbone.network, look_at):
        backbone.logits(pictures)
    return layouts


def _probe_gradients(
    backbone: Backbone, picture: Tensor, layouts: dict[str, Layout | None]
) -> list[ModuleOutput]:
    """Return a record of each module's first output, with the reason why it cannot be used."""
    records: dict[str, ModuleOutput] = {}
    calls: Counter[str] = Counter()
    weighted_leaves = 0

    def remember(name: str, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        nonlocal weighted_leaves
        calls[name] += 1
        leaf = next(module.children(), None) is None
        weighted = any(parameter.ndim >= 2 for parameter in module.parameters())
        weighted_leaves += leaf and weighted
        if calls[name] > 1:
            return
        tensor = output if isinstance(output, Tensor) else None
        first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        records[name] = ModuleOutput(
            name=name,
            leaf=leaf,
            weighted=weighted,
            output_shape=() if tensor is None else tuple(tensor.shape[1:]),
            input_shape=() if first is None else tuple(first.shape[1:]),
            layout=layouts.get(name) if tensor is not None and tensor.ndim == 4 else None,
            edge=None if tensor is None or not tensor.requires_grad else get_gradient_edge(tensor),
            weighted_before=weighted_leaves,
        )

    with torch.enable_grad(), _output_hooks(backbone.network, remember):
        top_logit = backbone.logits(picture.requires_grad_(True)).max()
    maps = [record for record in records.values() if record.layout is not None]
    reached = [record for record in maps if record.edge is not None]
    gradients: Sequence[Tensor | None] = [None] * len(reached)
    if reached and top_logit.requires_grad:
        edges = [record.edge for record in reached if record.edge is not None]
        gradients = torch.autograd.grad(top_logit, edges, allow_unused=True)
    problems = {
        record.name: _gradient_problem(gradient)
        for record, gradient in zip(reached, gradients, strict=True)
    }
    for record in maps:
        record.reason = problems.get(record.name, _NO_GRADIENT)
        if calls[record.name] > 1:
            record.reason = (
                f"runs {calls[record.name]} times in one forward pass, so which of its outputs "
                "is meant is not clear"
            )
    return list(records.values())


_NO_GRADIENT = "is not connected to the class by a gradient"


def _gradient_problem(gradient: Tensor | None) -> str | None:
    if gradient is None:
        return _NO_GRADIENT
    largest = float(gradient.abs().amax())  # NaN if there is any
    if not math.isfinite(largest):
        return "has a gradient that is not finite"
    return None if largest > 0 else "has a gradient of zero everywhere"


@contextmanager
def _output_hooks(
    network: nn.Module, remember: Callable[[str, nn.Module, tuple[Any, ...], object], None]
) -> Iterator[None]:
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


def _layout_of(output: object, input_size: tuple[int, int]) -> Layout | None:
    """Return how the probe's output (5, ., ., .) is laid out, or None if it is no spatial map."""
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[0] != 5:
        return None
    changes = (output[1:] - output[:1]).float().square()  # (4, a, b, c)
    vertical_shifts, horizontal_shifts = [], []
    for axis in (1, 2, 3):
        profiles = changes.sum(dim=[other for other in (1, 2, 3) if other != axis])  # (4, length)
        positions = torch.linspace(0, 1, profiles.shape[1], device=profiles.device)
        centres = (profiles * positions).sum(1) / profiles.sum(1).clamp_min(1e-30)
        top, bottom, left, right = centres.tolist()
        vertical_shifts.append(bottom - top)
        horizontal_shifts.append(right - left)
    vertical = _clear_axis(vertical_shifts, horizontal_shifts)
    horizontal = _clear_axis(horizontal_shifts, vertical_shifts)
    shape = tuple(output.shape[1:])
    if vertical is None or horizontal is None:
        # Weak traces of both axes are drowned in mixing; a strong trace of one axis alone is not
        # a map's: tokens in raster order have no horizontal axis.
        is_strong = max(*vertical_shifts, *horizontal_shifts) > STRONG_SHIFT
        return None if is_strong else _layout_from_shape(shape, input_size)
    if min(shape[vertical], shape[horizontal]) < 2:
        return None
    return LAYOUT_OF_AXES.get((vertical, horizontal))


def _clear_axis(shifts: list[float], across: list[float]) -> int | None:
    """Return the axis with the largest shift if it is clear and much less so across, else None."""
    axis = max(range(len(shifts)), key=shifts.__getitem__)
    is_clear = shifts[axis] > CLEAR_SHIFT and shifts[axis] > 2 * abs(across[axis])
    return axis if is_clear else None


def _layout_from_shape(shape: tuple[int, ...], input_size: tuple[int, int]) -> Layout | None:
    """Return the layout whose grid has the input's aspect ratio, if only one has."""

    def looks_like_a_grid(height: int, width: int) -> bool:
        return min(height, width) > 1 and height * input_size[1] == width * input_size[0]

    channels_first = looks_like_a_grid(shape[1], shape[2])
    channels_last = looks_like_a_grid(shape[0], shape[1])
    if channels_first == channels_last:
        return None
    return "NCHW" if channels_first else "NHWC"
