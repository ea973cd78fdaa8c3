"""What each group mask is worth: masked forward passes in micro-batches, the hot path."""

from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.models import Backbone
from groupcam.saliency import engine
from groupcam.saliency.capture import class_probability
from groupcam.saliency.config import Precision


def upsample_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks (..., h, w) resized bilinearly to (..., H, W), not scaled."""
    flat = masks.reshape(-1, 1, *masks.shape[-2:])
    resized = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return resized.reshape(*masks.shape[:-2], *size)


def min_max_scale(maps: Tensor) -> Tensor:
    """Return maps (..., H, W) scaled so that each spans [0, 1]; a flat map becomes 0.

    This is the one place where 0/0 could arise.
    """
    low, high = maps.flatten(-2).aminmax(dim=-1)
    low, span = low[..., None, None], (high - low)[..., None, None]
    return (maps - low) / torch.where(span > 0, span, 1)


def is_dead(masks: Tensor) -> Tensor:
    """Return which masks (..., h, w) are flat and so hide nothing in particular, bool (...)."""
    return masks.amax(dim=(-2, -1)) <= masks.amin(dim=(-2, -1))


def masked_inputs(inputs: Tensor, blurred: Tensor, scaled_masks: Tensor) -> Tensor:
    """Return the pictures where the mask is 1 and the blurred pictures where it is 0.

    Args:
        inputs: (M, 3, H, W).
        blurred: (M, 3, H, W).
        scaled_masks: (M, H, W) in [0, 1].
    """
    return torch.lerp(blurred, inputs, scaled_masks[:, None])


def probabilities(
    backbone: Backbone, inputs: Tensor, class_index: Tensor, precision: Precision = "float32"
) -> Tensor:
    """Return the class probability of one micro-batch of inputs, (M,)."""
    return class_probability(engine.forward(backbone, inputs, precision), class_index)


def score_masks(
    backbone: Backbone,
    inputs: Tensor,
    blurred: Tensor,
    masks: Tensor,
    class_index: Tensor,
    precision: Precision = "float32",
) -> Generator[int, None, tuple[Tensor, Tensor]]:
    """Run the masked forward passes; yields how many are done, returns the probabilities.

    Only live masks are run, N x G pairs of picture and mask together in full micro-batches, and
    never more than one micro-batch of masked inputs exists.

    Args:
        backbone: the network.
        inputs: normalised pictures, (N, 3, H, W).
        blurred: the blurred pictures, (N, 3, H, W).
        masks: de-noised group masks, (N, G, h, w), not scaled.
        class_index: the class to score, (N,).
        precision: number format of the forward passes.

    Yields:
        Forward passes done so far, after every micro-batch.

    Returns:
        p(blurred), (N,), and p(masked), (N, G), where a dead mask has p(blurred): it hides all.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    at_once = engine.plan_of(backbone).micro_batch
    # An empty mask stands first: it hides all, which gives the blurred picture.
    shown = torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)  # (N, 1 + G, h, w)
    is_run = ~is_dead(shown)
    is_run[:, 0] = True
    pictures, groups = is_run.nonzero(as_tuple=True)  # a forward pass each, (M,)
    probability = inputs.new_empty(len(pictures))
    for start in range(0, len(pictures), at_once):
        chosen = slice(start, start + at_once)
        picture, group = pictures[chosen], groups[chosen]
        scaled = min_max_scale(upsample_masks(shown[picture, group], size))
        batch = masked_inputs(inputs[picture], blurred[picture], scaled)
        probability[chosen] = probabilities(backbone, batch, class_index[picture], precision)
        yield min(start + at_once, len(pictures))
    scored = inputs.new_zeros(is_run.shape)
    scored[pictures, groups] = probability
    baseline = scored[:, 0]
    return baseline, torch.where(is_run[:, 1:], scored[:, 1:], baseline[:, None])
