"""Centre: a control that bets on the photographer, who puts the object into the middle.

A Gaussian around the picture's centre, a quarter of each side wide; the same for every picture. A
method that does not beat it has not looked at the picture. Costs no pass.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import Method, Progress, Steps, size_of, to_maps

DEVIATION = 0.25  # of the Gaussian, as a part of each side


def centre(backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor) -> Steps:
    """Return the steps of the centre control; see `Method`."""
    yield Progress(0, 0)
    gaussian = centred_gaussian(size_of(inputs))
    return to_maps(gaussian.expand(len(inputs), -1, -1), size_of(inputs), 0, 0)


def centred_gaussian(size: tuple[int, int]) -> Tensor:
    """Return the Gaussian at the size of a picture, (H, W), above 0 and at most 1."""
    rows, columns = (
        torch.exp(-(((torch.arange(length) + 0.5) / length - 0.5) ** 2) / (2 * DEVIATION**2))
        for length in size
    )
    return rows[:, None] * columns


METHODS = (Method("centre", "Centre", "", "control", centre),)
