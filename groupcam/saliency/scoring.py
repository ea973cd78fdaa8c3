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
    low = maps.amin(dim=(-2, -1), keepdim=True)
    span = maps.amax(dim=(-2, -1), keepdim=True) - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1), 0)


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
    if precision == "float32":
        logits = engine.forward(backbone, inputs)
    else:
        with (
            backbone.frozen(),
            torch.no_grad(),
            torch.autocast(inputs.device.type, dtype=torch.bfloat16),
        ):
            logits = backbone.logits(inputs.contiguous(memory_format=torch.channels_last))
    return class_probability(logits, class_index)


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
    baseline = inputs.new_zeros(len(inputs))
    masked = inputs.new_zeros(masks.shape[:2])
    # A row (picture, group) is one forward pass; group -1 stands for the blurred picture itself.
    blurred_rows = torch.tensor([[picture, -1] for picture in range(len(inputs))])
    rows = torch.cat([blurred_rows, (~is_dead(masks)).nonzero().cpu()]).to(inputs.device)
    for start in range(0, len(rows), at_once):
        picture, group = rows[start : start + at_once].T
        scaled = min_max_scale(upsample_masks(masks[picture, group], size))
        scaled[group < 0] = 0
        batch = masked_inputs(inputs[picture], blurred[picture], scaled)
        probability = probabilities(backbone, batch, class_index[picture], precision)
        of_blurred = group < 0
        baseline[picture[of_blurred]] = probability[of_blurred]
        masked[picture[~of_blurred], group[~of_blurred]] = probability[~of_blurred]
        yield min(start + at_once, len(rows))
    return baseline, torch.where(is_dead(masks), baseline[:, None], masked)
