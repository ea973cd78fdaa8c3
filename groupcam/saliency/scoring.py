"""What each group mask is worth: masked forward passes in micro-batches, the hot path."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.models import Backbone
from groupcam.models.logits import check_finite
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
        inputs: (M, 3, H, W), or (1, 3, H, W) for all masks.
        blurred: the same.
        scaled_masks: (M, H, W) in [0, 1].
    """
    return torch.lerp(blurred, inputs, scaled_masks[:, None])


def probabilities(
    backbone: Backbone, inputs: Tensor, class_index: Tensor, precision: Precision = "float32"
) -> Tensor:
    """Return the class probability of one micro-batch of inputs, (M,)."""
    return class_probability(engine.forward(backbone, inputs, precision), class_index)


@dataclass(frozen=True, eq=False)
class Scores:
    """The class probabilities so far."""

    done: int  # forward passes
    baseline: Tensor  # p(blurred), (N,)
    masked: Tensor  # p(masked), (N, G); p(blurred) where a mask is dead or not scored yet
    spans: Tensor  # max - min of each upsampled mask, (N, G); 1 where p is that of the blur


def score_masks(
    backbone: Backbone,
    inputs: Tensor,
    blurred: Tensor,
    masks: Tensor,
    class_index: Tensor,
    precision: Precision = "float32",
) -> Generator[Scores, None, Scores]:
    """Run the masked forward passes in micro-batches, those of the largest masks first.

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
        The scores so far, after every micro-batch.

    Returns:
        All scores. A dead mask has p(blurred): it hides all.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    at_once = engine.plan_of(backbone).micro_batch
    # An empty mask stands first: it hides all, which gives the blurred picture.
    shown = torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)  # (N, 1 + G, h, w)
    is_run = ~is_dead(shown)
    is_run[:, 0] = True
    mass = shown.sum((-2, -1))
    mass[:, 0] = torch.inf
    order = mass.argsort(dim=1, descending=True, stable=True)
    pictures, ranks = is_run.gather(1, order).nonzero(as_tuple=True)  # a forward pass each, (M,)
    groups = order[pictures, ranks]
    probability, spans = torch.zeros_like(mass), torch.ones_like(mass)
    is_scored = torch.zeros_like(is_run)

    def scores(done: int) -> Scores:
        baseline = probability[:, 0]
        masked = torch.where(is_scored, probability, baseline[:, None])[:, 1:]
        return Scores(done, baseline, masked, spans[:, 1:])

    for start in range(0, len(pictures), at_once):
        chosen = slice(start, start + at_once)
        picture, group = pictures[chosen], groups[chosen]
        upsampled = upsample_masks(shown[picture, group], size)
        low, high = upsampled.flatten(1).aminmax(dim=1)
        span = torch.where(high > low, high - low, 1)
        scaled = (upsampled - low[:, None, None]).div_(span[:, None, None])
        if len(inputs) == 1:  # one picture need not be copied for every mask
            batch = masked_inputs(inputs, blurred, scaled)
        else:
            batch = masked_inputs(inputs[picture], blurred[picture], scaled)
        probability[picture, group] = probabilities(
            backbone, batch, class_index[picture], precision
        )
        is_scored[picture, group], spans[picture, group] = True, span
        yield scores(min(start + at_once, len(pictures)))
    check_finite(probability, backbone.name)
    return scores(len(pictures))
