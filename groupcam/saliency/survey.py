"""What every target layer of a network answers to a picture, at a glance."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from groupcam.models import Backbone, TargetLayer, to_nchw
from groupcam.models.bands import tensors_in


def mean_activations(
    backbone: Backbone, inputs: Tensor, layers: Sequence[TargetLayer]
) -> dict[str, Tensor]:
    """Return the activation of each layer averaged over its channels. Costs one forward pass.

    Args:
        backbone: the network; its lock is held while it runs.
        inputs: one normalised picture, (1, 3, H, W).
        layers: where to look.

    Returns:
        For each layer's name a float32 map (h, w) on the CPU.
    """
    means: dict[str, Tensor] = {}

    def recorder(layer: TargetLayer) -> Callable[[nn.Module, Any, object], None]:
        calls = itertools.count()

        def record(_module: nn.Module, _inputs: Any, output: object) -> None:
            if next(calls) == layer.call:
                tensor = dict(tensors_in(output))[layer.path]
                means[layer.name] = to_nchw(tensor, layer)[0].float().mean(0).cpu()

        return record

    with backbone.frozen(), torch.no_grad():
        handles = [
            backbone.network.get_submodule(layer.name).register_forward_hook(recorder(layer))
            for layer in layers
        ]
        try:
            backbone.logits(inputs)
        finally:
            for handle in handles:
                handle.remove()
    return means
