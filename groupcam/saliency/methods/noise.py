"""Noise that is the same for every picture and every batch: a method's result depends on its seed.

torch's own random state is not touched.
"""

import torch
from torch import Tensor

from groupcam.saliency.methods.base import generator_of, require_room


def draw_noise(inputs: Tensor, samples: int, seed: int) -> Tensor:
    """Return normal noise of deviation 1, (samples, 3, H, W), on the device of the pictures.

    Raises:
        GroupCamError: that are too many samples, or the seed is not one of torch's.
    """
    require_room("samples", samples, samples * inputs[0].numel())
    generator = generator_of(seed)
    return torch.randn(samples, *inputs.shape[1:], generator=generator).to(inputs)


def span_of(inputs: Tensor) -> Tensor:
    """Return the largest minus the smallest value of each picture, (N, 1, 1, 1)."""
    low, high = inputs.flatten(1).aminmax(dim=1)
    return (high - low)[:, None, None, None]
