"""What a saliency method is: its entry in the registry, its progress and its result."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Concatenate, Literal

import torch
from torch import Tensor

from groupcam.errors import GroupCamError, did_you_mean
from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.capture import Capture, capture_layer
from groupcam.saliency.methods.passes import in_micro_batches
from groupcam.saliency.scoring import min_max_scale, upsample_masks
from groupcam.steps import relay

# Forward passes of the same picture differ by about this much of their result when they run in
# micro-batches of other sizes: a few roundings of float32.
ROUNDING = 1e-6

# What a method may lay out before its first pass: 1 GB of float32. SmoothGrad's 50 samples at
# 1024 px, the page's largest input, need 0.6 of it.
MOST_NUMBERS = 2**28

# "cam": from a layer's activations; "perturbation": from changed pictures; "gradient": from the
# gradient of the picture's own pixels; "control": looks at no class.
Kind = Literal["cam", "perturbation", "gradient", "control"]


@dataclass(frozen=True)
class Progress:
    """How far a method is, counted in forward passes of all pictures together.

    `total` is an upper bound until the method knows which passes it can spare.
    """

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Maps:
    """Saliency maps of N pictures, and what they cost. Tensors lie on the CPU."""

    saliency_map: Tensor  # (N, H, W), float32 in [0, 1]; zeros where the method finds nothing
    forward_passes: Tensor  # (N,), int64: forward passes for each picture
    backward_passes: Tensor  # (N,), int64


Steps = Generator[Progress, None, Maps]


@dataclass(frozen=True)
class Method:
    """One saliency method.

    `steps(backbone, inputs, layer, class_index, **options)` takes normalised pictures
    (N, 3, H, W) on the backbone's device, a target layer (ignored by all kinds but "cam") and the
    class of each picture, int64 (N,). It yields its progress after every micro-batch, so that
    closing it stops the work there, and returns `Maps`. A picture's map does not depend on the
    other pictures. What a method can be told beyond that are the keyword arguments of its `steps`.
    """

    name: str
    title: str
    paper: str  # where it comes from; "" for the controls
    kind: Kind
    steps: Callable[Concatenate[Backbone, Tensor, TargetLayer, Tensor, ...], Steps]


def to_maps(
    raw: Tensor, size: tuple[int, int], forward_passes: int | Tensor, backward_passes: int | Tensor
) -> Maps:
    """Return raw maps as saliency maps: resized, negative values cut off, each spanning [0, 1].

    Args:
        raw: (N, h, w) of any size.
        size: (H, W) of the pictures.
        forward_passes: of each picture, one number or (N,).
        backward_passes: likewise.
    """
    resized = raw if raw.shape[-2:] == size else upsample_masks(raw, size)
    return Maps(
        min_max_scale(resized.float().relu()).cpu(),
        torch.as_tensor(forward_passes, dtype=torch.int64).cpu().expand(len(raw)).clone(),
        torch.as_tensor(backward_passes, dtype=torch.int64).cpu().expand(len(raw)).clone(),
    )


def size_of(inputs: Tensor) -> tuple[int, int]:
    """Return (H, W) of pictures (N, 3, H, W)."""
    return inputs.shape[-2], inputs.shape[-1]


def without_rounding(differences: Tensor, magnitude: Tensor) -> Tensor:
    """Return differences between results of forward passes, with mere rounding errors set to 0.

    Otherwise a map that is flat but for them would be scaled to one that spans [0, 1].

    Args:
        differences: any shape.
        magnitude: size of the results that were subtracted, broadcast to the same shape.
    """
    return torch.where(differences.abs() > ROUNDING * magnitude.abs(), differences, 0)


def require_at_least(name: str, value: float, minimum: float) -> None:
    """Refuse an option below its minimum.

    Raises:
        GroupCamError: value is below the minimum or not a number.
    """
    if not value >= minimum:
        raise GroupCamError(f"{name} must be at least {minimum}; got {value}. Choose a larger one.")


def require_room(name: str, value: int, numbers: int) -> None:
    """Refuse an option for which a method would lay out too much before its first pass.

    Args:
        name: the option.
        value: what was given.
        numbers: that are laid out.

    Raises:
        GroupCamError: there are too many of them.
    """
    if numbers > MOST_NUMBERS:
        raise GroupCamError(
            f"{name} must need at most {MOST_NUMBERS:,} numbers at once; got {value}, which needs "
            f"{numbers:,}. Choose a smaller one."
        )


def generator_of(seed: int) -> torch.Generator:
    """Return a source of random numbers.

    Raises:
        GroupCamError: the seed is not one of torch's.
    """
    if not 0 <= seed < 2**63:
        raise GroupCamError(f"seed must be between 0 and 2^63 - 1; got {seed}. Choose another one.")
    return torch.Generator().manual_seed(seed)


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an option that is none of its choices.

    Raises:
        GroupCamError: value is none of them.
    """
    if value not in choices:
        raise GroupCamError(
            f"{name} must be one of {', '.join(choices)}; got {value!r}."
            f"{did_you_mean(str(value), choices)}"
        )


def cam_steps(
    compute_cam: Callable[[Capture], Tensor],
) -> Callable[[Backbone, Tensor, TargetLayer, Tensor], Steps]:
    """Return the steps of a method whose cam follows from activations and gradients alone.

    Args:
        compute_cam: from a capture to cams, (N, h, w), which may be negative.
    """

    def steps(backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor) -> Steps:
        def run(chosen: slice) -> Tensor:
            return compute_cam(capture_layer(backbone, inputs[chosen], layer, class_index[chosen]))

        total = len(inputs)
        cams = yield from relay(
            in_micro_batches(backbone, total, run), lambda done: Progress(done, total)
        )
        return to_maps(torch.cat(cams).relu(), size_of(inputs), 1, 1)

    return steps
