"""Recipro-CAM: each cell of the layer's map alone, scored by the rest of the network.

    cam_ij = p_c(A with every cell but (i, j) set to 0)

Byun, Lee 2024, arXiv:2209.14074, as the authors' code does it by default (sybyun/ReciproCAM).
The map shows which single cells suffice for the class. Costs one forward pass and one for every
cell, no gradient. Flaw: one cell amid zeros is nothing that the network has learnt from, and no
cell is credited that counts only together with others.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.capture import class_probability
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


def recipro_cam(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor
) -> Steps:
    """Return the steps of Recipro-CAM; see `Method`."""
    count = len(inputs)
    _, height, width = layer.shape
    bound = count * (1 + height * width)
    captured = yield from relay(
        in_micro_batches(
            backbone, count, lambda chosen: activations_at(backbone, inputs[chosen], layer)[0]
        ),
        lambda done: Progress(done, bound),
    )
    activations = torch.cat(captured)
    grid = activations.shape[2:]  # that of these inputs, whatever size they have
    cells = grid.numel()

    def run(chosen: slice) -> Tensor:
        jobs = torch.arange(chosen.start, chosen.stop, device=inputs.device)
        picture, cell = jobs // cells, jobs % cells
        only = torch.nn.functional.one_hot(cell, cells).to(activations).unflatten(1, grid)
        shown = activations[picture] * only[:, None]
        logits = logits_with_map(backbone, inputs[picture], layer, shown)
        return class_probability(logits, class_index[picture])

    jobs = count * cells
    scored = yield from relay(
        in_micro_batches(backbone, jobs, run), lambda done: Progress(count + done, count + jobs)
    )
    probability = torch.cat(scored).unflatten(0, (count, *grid))
    low, high = (edge[:, None, None] for edge in probability.flatten(1).aminmax(dim=1))
    cam = without_rounding(probability - low, high)
    return to_maps(cam, size_of(inputs), 1 + cells, 0)


METHODS = (Method("recipro_cam", "Recipro-CAM", "arXiv:2209.14074", "cam", recipro_cam),)
