"""Forward passes with another map in the place of what the target layer gave."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from groupcam.models import Backbone, TargetLayer, from_nchw
from groupcam.models.bands import tensors_in
from groupcam.saliency.capture import replace_tensor


def logits_with_map(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, activations: Tensor
) -> Tensor:
    """Return the logits (M, K) that follow from given activations of the target layer.

    The network runs as usual up to the layer, so tokens outside the map, such as the class token,
    and paths around the layer hold what they hold for the inputs.

    Args:
        backbone: the network; its lock is held while it runs.
        inputs: normalised pictures, (M, 3, H, W).
        layer: where the map is put in.
        activations: the map that the rest of the network sees, (M, C, h, w); not changed.
    """
    with backbone.frozen(), torch.no_grad(), _replaced(backbone.network, layer, activations):
        return backbone.logits(inputs.clone()).float()


@contextmanager
def _replaced(network: nn.Module, layer: TargetLayer, activations: Tensor) -> Iterator[None]:
    """Put the map in place of the layer's own during one forward pass."""
    calls = 0

    def replace(_module: nn.Module, arguments: tuple[Any, ...], output: object) -> object:
        nonlocal calls
        calls += 1
        if calls != layer.call + 1:
            return None  # the output stays as it is
        tensor = dict(tensors_in(output))[layer.path]
        changed = from_nchw(activations, layer, tensor)
        if any(tensor is argument for _, argument in tensors_in(arguments)):
            # Handed on: whoever else holds the tensor must see the map as well.
            tensor.copy_(changed)
            return None
        return replace_tensor(output, tensor, changed)

    handle = network.get_submodule(layer.name).register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
