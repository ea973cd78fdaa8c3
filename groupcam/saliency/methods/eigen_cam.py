"""Eigen-CAM: the pattern over the cells that explains most of the activations.

    A as a matrix O (h w, C) = U S V^T;  cam = O v_1, the projection on the first singular vector

Muhammad, Yeasin 2020, arXiv:2008.00299. The map shows what the layer as a whole responds to. Costs
one forward pass, no gradient. Flaw: it knows nothing of the class.

A singular vector has no sign: the one is taken that makes the cell furthest from 0 positive. With
`centred` every channel's mean is taken off first (principal components), as pytorch-grad-cam does.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import Method, Progress, Steps, size_of, to_maps
from groupcam.saliency.methods.passes import activations_at, in_micro_batches
from groupcam.steps import relay


def eigen_cam(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    centred: bool = False,
) -> Steps:
    """Return the steps of Eigen-CAM; see `Method`.

    Args:
        centred: whether each channel's mean is taken off first.
    """

    def run(chosen: slice) -> Tensor:
        return compute_cam(activations_at(backbone, inputs[chosen], layer)[0], centred)

    total = len(inputs)
    cams = yield from relay(
        in_micro_batches(backbone, total, run), lambda done: Progress(done, total)
    )
    return to_maps(torch.cat(cams).relu(), size_of(inputs), 1, 0)


def compute_cam(activations: Tensor, centred: bool) -> Tensor:
    """Return the projection of activations (N, C, h, w) on their first pattern, (N, h, w)."""
    cells = activations.flatten(2).transpose(1, 2)  # (N, h * w, C)
    if centred:
        cells = cells - cells.mean(1, keepdim=True)
    left, singular, _ = torch.linalg.svd(cells, full_matrices=False)
    projection = left[:, :, 0] * singular[:, :1]  # (N, h * w)
    is_upside_down = -projection.amin(1, keepdim=True) > projection.amax(1, keepdim=True)
    return torch.where(is_upside_down, -projection, projection).reshape_as(activations[:, 0])


METHODS = (Method("eigen_cam", "Eigen-CAM", "arXiv:2008.00299", "cam", eigen_cam),)
