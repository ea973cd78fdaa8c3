"""Integrated gradients: the gradient along the way from a black picture, times the difference.

    IG = (x - x') * integral over t in [0, 1] of dy_c/dx at x' + t (x - x')

Sundararajan, Taly, Yan 2017, arXiv:1703.01365, with x' black. The attributions add up to
y_c(x) - y_c(x'). The map is their strength, summed over the colours without regard to sign. Costs
a forward and a backward pass for each of the points (Gauss-Legendre) at which the integral is
taken. Flaw: dark pixels are like the baseline and so get no credit; the map is grainy.

Own code rather than Captum's, which runs all points in one call that can neither report progress
nor be stopped; the figures are Captum's (see the tests).
"""

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    require_at_least,
    size_of,
    to_maps,
)
from groupcam.saliency.methods.passes import in_micro_batches, input_gradients
from groupcam.steps import relay

MOST_POINTS = 1000


def integrated_gradients(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor, *, points: int = 50
) -> Steps:
    """Return the steps of integrated gradients; see `Method`.

    Args:
        points: at which the integral is taken.
    """
    require_at_least("points", points, 1)
    # Their nodes are eigenvalues: of more points they take longer than any map.
    if points > MOST_POINTS:
        raise GroupCamError(f"points must be at most {MOST_POINTS}; got {points}. Choose fewer.")
    total = len(inputs) * points
    attributions = yield from relay(
        attribute(backbone, inputs, class_index, points), lambda done: Progress(done, total)
    )
    return to_maps(attributions.abs().sum(1), size_of(inputs), points, points)


def attribute(
    backbone: Backbone, inputs: Tensor, class_index: Tensor, points: int
) -> Generator[int, None, Tensor]:
    """Compute the attributions themselves; yields the forward passes done.

    Args:
        backbone: the network.
        inputs: normalised pictures, (N, 3, H, W).
        class_index: (N,).
        points: at which the integral is taken.

    Returns:
        Attributions, (N, 3, H, W), signed.
    """
    black = black_picture(backbone).to(inputs)
    nodes, node_weights = np.polynomial.legendre.leggauss(points)  # on [-1, 1]
    places = torch.from_numpy((nodes + 1) / 2).float().to(inputs)
    weights = torch.from_numpy(node_weights / 2).float().to(inputs)
    integral = torch.zeros_like(inputs)

    def run(chosen: slice) -> None:
        jobs = torch.arange(chosen.start, chosen.stop, device=inputs.device)
        picture, point = jobs // points, jobs % points
        on_the_way = torch.lerp(black, inputs[picture], places[point][:, None, None, None])
        gradients = input_gradients(backbone, on_the_way, class_index[picture])
        integral.index_add_(0, picture, gradients * weights[point][:, None, None, None])

    yield from in_micro_batches(backbone, len(inputs) * points, run)
    return integral * (inputs - black)


def black_picture(backbone: Backbone) -> Tensor:
    """Return black as the network's normalised input has it, (1, 3, 1, 1)."""
    preprocessing = backbone.preprocessing
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return (-mean / std).view(1, 3, 1, 1)


METHODS = (
    Method(
        "integrated_gradients",
        "Integrated gradients",
        "arXiv:1703.01365",
        "gradient",
        integrated_gradients,
    ),
)
