"""Ablation-CAM: channels weighted by what the class logit loses without them.

    cam = ReLU(sum_k w_k A_k),  w_k = (y_c - y_c without channel k) / y_c

Desai, Ramaswamy 2020, WACV, doi:10.1109/WACV45572.2020.9093360; a channel is ablated by setting it
to 0. The map shows where the channels fire that the logit needs. Costs one forward pass and one
for every channel that is not 0 already, no gradient. Flaw: channels that stand in for one another
seem useless, since each is missed little.

The division by y_c scales the whole map, so nothing is left of it in the end but its sign: a
negative logit would turn the map round. It is therefore left out.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    size_of,
    to_maps,
    without_rounding,
)
from groupcam.saliency.methods.feature_space import logits_with_map
from groupcam.saliency.methods.passes import activations_at, in_micro_batches
from groupcam.steps import relay

PAPER = "doi:10.1109/WACV45572.2020.9093360"


def ablation_cam(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor
) -> Steps:
    """Return the steps of Ablation-CAM; see `Method`."""
    count = len(inputs)
    bound = count * (1 + layer.shape[0])
    captured = yield from relay(
        in_micro_batches(
            backbone, count, lambda chosen: activations_at(backbone, inputs[chosen], layer)
        ),
        lambda done: Progress(done, bound),
    )
    activations, logits = (torch.cat(parts) for parts in zip(*captured, strict=True))
    original = logits.gather(1, class_index[:, None])  # (N, 1)

    is_run = activations.flatten(2).any(2)  # (N, C)
    pictures, channels = is_run.nonzero(as_tuple=True)

    def run(chosen: slice) -> Tensor:
        picture, channel = pictures[chosen], channels[chosen]
        ablated = activations[picture]
        ablated[torch.arange(len(picture), device=channel.device), channel] = 0
        without = logits_with_map(backbone, inputs[picture], layer, ablated)
        return without.gather(1, class_index[picture, None])[:, 0]

    total = count + len(pictures)
    without = yield from relay(
        in_micro_batches(backbone, len(pictures), run), lambda done: Progress(count + done, total)
    )
    weights = torch.zeros_like(activations[:, :, 0, 0])
    if without:
        needed = original[pictures, 0]
        weights[pictures, channels] = without_rounding(needed - torch.cat(without), needed)
    cam = (weights[:, :, None, None] * activations).sum(1).relu()
    return to_maps(cam, size_of(inputs), 1 + is_run.sum(1), 0)


METHODS = (Method("ablation_cam", "Ablation-CAM", PAPER, "cam", ablation_cam),)
