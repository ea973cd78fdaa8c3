"""How many forward passes a method's map will take, found out without running the network.

A method is rehearsed: it begins on a stand-in network whose only layer has the shape of the real
one's target layer, and is stopped after its first step, which says how many there are in all.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.evaluate.variants import Variant, parse_variant
from groupcam.models import Backbone, Preprocessing, TargetLayer, resolve_target_layer
from groupcam.saliency import GroupCamConfig

CLASSES = 3


def takes_settings(variant: Variant) -> bool:
    """Return whether a method takes the page's settings: a preset has settings of its own."""
    is_preset = isinstance(variant.method.steps, functools.partial)
    return "config" in variant.settings and not is_preset and not variant.options


def options_of(variant: Variant, config: GroupCamConfig) -> dict[str, object]:
    """Return what a method is told where the page's settings are `config`."""
    return {"config": config} if takes_settings(variant) else dict(variant.options)


def forward_passes(
    method: str, config: GroupCamConfig, layer: TargetLayer, input_size: tuple[int, int]
) -> int | None:
    """Return at most how many forward passes one map takes; None where it cannot be told.

    Args:
        method: as `parse_variant` takes it.
        config: the settings, for a method that takes them.
        layer: the target layer; only its shape (C, h, w) counts.
        input_size: (H, W) of the network's input.
    """
    return _rehearsed(method, config, layer.shape, input_size)


@functools.lru_cache(maxsize=1024)
def _rehearsed(
    method: str, config: GroupCamConfig, shape: tuple[int, int, int], input_size: tuple[int, int]
) -> int | None:
    variant = parse_variant(method)
    stand_in, inputs = _stand_in(shape, input_size)
    try:
        steps = variant.method.steps(
            stand_in,
            inputs,
            resolve_target_layer(stand_in, "layer"),
            torch.zeros(1, dtype=torch.int64),
            **options_of(variant, config),
        )
        total = next(steps).total
        steps.close()
    except (GroupCamError, StopIteration):
        return None
    return total


@functools.lru_cache(maxsize=8)
def _stand_in(shape: tuple[int, int, int], input_size: tuple[int, int]) -> tuple[Backbone, Tensor]:
    """Return a network with a layer of this shape, and a picture for it, (1, 3, H, W)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _StandIn(*shape).eval()
    names = tuple(f"class {index}" for index in range(CLASSES))
    picture = torch.linspace(0, 1, 3 * input_size[0] * input_size[1]).reshape(1, 3, *input_size)
    return Backbone("stand-in", network, Preprocessing(input_size), names), picture


class _StandIn(nn.Module):
    """Pools the picture to the layer's grid before anything is computed, so it costs nothing.

    All weights are positive: every channel fires, so no method can spare the pass of an empty mask.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.grid = (height, width)
        self.layer = nn.Conv2d(3, channels, 1)
        self.head = nn.Linear(channels, CLASSES)
        for parameter in self.parameters():
            parameter.data.abs_()

    def forward(self, x: Tensor) -> Tensor:
        activations = F.relu(self.layer(F.adaptive_avg_pool2d(x, self.grid)))  # (N, C, h, w)
        logits: Tensor = self.head(activations.mean(dim=(2, 3)))
        return logits
