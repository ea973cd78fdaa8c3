"""Score-CAM: channels weighted by the class score of the picture seen through them.

    cam = ReLU(sum_k w_k A_k),  M_k = A_k upsampled and scaled to [0, 1],  x_k = x * M_k

Wang et al. 2020, arXiv:1910.01279. Hidden pixels are 0 in normalised space. The weights:

    score_cam           w_k = p_c(x_k): the authors' code (haofanwang/Score-CAM)
    score_cam_increase  w_k = p_c(x_k) - p_c(0): the increase of confidence, definition 3
    score_cam_softmax   w_k = softmax over the channels of y_c(x_k): the paper's algorithm 1, and
                        what pytorch-grad-cam and torch-cam compute

The map shows where channels fire whose part of the picture alone looks like the class. Costs one
forward pass and one for every channel that is not flat (one more for the increase), no gradient.
Flaw: hundreds of passes, and masks of single channels show the network pictures unlike any that
it has learnt from.
"""

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency import engine
from groupcam.saliency.capture import class_probability
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    require_choice,
    size_of,
    to_maps,
    without_rounding,
)
from groupcam.saliency.methods.passes import activations_at, in_micro_batches
from groupcam.saliency.scoring import is_dead, masked_inputs, min_max_scale, upsample_masks
from groupcam.steps import relay

PAPER = "arXiv:1910.01279"
Weighting = Literal["probability", "increase", "softmax"]


def score_cam(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    weighting: Weighting = "probability",
) -> Steps:
    """Return the steps of Score-CAM; see `Method`.

    Args:
        weighting: how a channel's score becomes its weight.
    """
    require_choice("weighting", weighting, get_args(Weighting))
    count, size = len(inputs), size_of(inputs)
    empty = weighting == "increase"  # whether the empty picture is scored too
    bound = count * (1 + empty + layer.shape[0])
    captured = yield from relay(
        in_micro_batches(
            backbone, count, lambda chosen: activations_at(backbone, inputs[chosen], layer)[0]
        ),
        lambda done: Progress(done, bound),
    )
    activations = torch.cat(captured)  # (N, C, h, w)
    masks = activations
    if empty:
        masks = torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)
    is_run = ~is_dead(masks)
    is_run[:, : int(empty)] = True
    pictures, channels = is_run.nonzero(as_tuple=True)

    def run(chosen: slice) -> Tensor:
        picture, channel = pictures[chosen], channels[chosen]
        scaled = min_max_scale(upsample_masks(masks[picture, channel], size))
        shown = inputs[picture]
        shown = masked_inputs(shown, torch.zeros_like(shown), scaled)
        logits = engine.forward(backbone, shown)
        if weighting == "softmax":
            return logits.float().gather(1, class_index[picture, None])[:, 0]
        return class_probability(logits, class_index[picture])

    total = count + len(pictures)
    scored = yield from relay(
        in_micro_batches(backbone, len(pictures), run), lambda done: Progress(count + done, total)
    )
    nothing = -torch.inf if weighting == "softmax" else 0.0
    scores = torch.full_like(masks[:, :, 0, 0], nothing)
    if scored:
        scores[pictures, channels] = torch.cat(scored)
    weights = torch.where(is_run, _weights(scores, weighting), 0)[:, int(empty) :]
    # The ReLU follows the upsampling, as in the authors' code.
    cam = (weights[:, :, None, None] * activations).sum(1)
    return to_maps(cam, size, 1 + is_run.sum(1), 0)


def _weights(scores: Tensor, weighting: Weighting) -> Tensor:
    """Return the weight of each channel from the scores (N, C), or (N, 1 + C) for the increase."""
    if weighting == "softmax":
        return scores.softmax(1)
    if weighting == "increase":
        return without_rounding(scores - scores[:, :1], scores[:, :1])
    return scores


METHODS = (
    Method("score_cam", "Score-CAM", PAPER, "cam", score_cam),
    Method(
        "score_cam_increase",
        "Score-CAM (increase of confidence)",
        PAPER,
        "cam",
        partial(score_cam, weighting="increase"),
    ),
    Method(
        "score_cam_softmax",
        "Score-CAM (softmax of logits)",
        PAPER,
        "cam",
        partial(score_cam, weighting="softmax"),
    ),
)
