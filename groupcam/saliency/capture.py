"""Activations of the target layer and the gradients of the class logit there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, TargetLayer
from groupcam.models.target_layers import to_nchw

# Pictures a capture pass holds at once: its memory stays bounded for any N.
PICTURES_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Capture:
    """What one forward and one backward pass tell about the pictures at a target layer.

    It depends on the pictures, the network, the layer and the class only, so one capture serves
    every group count, percentile, grouping and blur.
    """

    inputs: Tensor  # (N, 3, H, W), normalised
    logits: Tensor  # (N, K)
    class_index: Tensor  # (N,), int64: the explained class
    activations: Tensor  # (N, C, h, w)
    gradients: Tensor  # (N, C, h, w): d(class logit) / d(activations)
    target_layer: TargetLayer

    @property
    def channel_weights(self) -> Tensor:
        """Return the mean gradient of every channel, (N, C)."""
        return self.gradients.mean(dim=(2, 3))

    @property
    def weighted_activations(self) -> Tensor:
        """Return every channel times its weight, (N, C, h, w)."""
        return self.activations * self.channel_weights[:, :, None, None]

    @property
    def probability(self) -> Tensor:
        """Return the probability of the explained class, (N,)."""
        return class_probability(self.logits, self.class_index)


def capture_layer(
    backbone: Backbone, inputs: Tensor, target_layer: TargetLayer, class_index: Tensor | None = None
) -> Capture:
    """Return activations and gradients at the target layer; the network is left as found.

    The backward pass runs from the logit to the target layer only, and no parameter gets a
    gradient.

    Args:
        backbone: the network; its lock is held while it runs.
        inputs: normalised pictures, (N, 3, H, W).
        target_layer: where to look.
        class_index: the class to explain, (N,); None takes each picture's top class.

    Raises:
        GroupCamError: the layer gives no 2D map, gets no gradient, or its values are not finite.
    """
    parts = []
    for start in range(0, len(inputs), PICTURES_AT_ONCE):
        chosen = slice(start, start + PICTURES_AT_ONCE)
        parts.append(
            _capture_part(
                backbone,
                inputs[chosen],
                target_layer,
                None if class_index is None else class_index[chosen],
            )
        )
    logits, classes, activations, gradients = (torch.cat(part) for part in zip(*parts, strict=True))
    return Capture(inputs, logits, classes, activations, gradients, target_layer)


def class_probability(logits: Tensor, class_index: Tensor) -> Tensor:
    """Return the softmax probability of one class a row, (N,), from logits, (N, K)."""
    return logits.float().softmax(dim=1).gather(1, class_index[:, None])[:, 0]


def _capture_part(
    backbone: Backbone, inputs: Tensor, target_layer: TargetLayer, class_index: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return logits, class index, activations and gradients of a few pictures."""
    module = backbone.network.get_submodule(target_layer.name)
    with (
        backbone.frozen(),
        torch.inference_mode(False),
        torch.enable_grad(),
        _recorded_output(module) as outputs,
    ):
        logits = backbone.logits(inputs)
        if class_index is None:
            class_index = logits.argmax(dim=1)
        if len(outputs) != 1:
            raise GroupCamError(
                f"target_layer must run once in a forward pass; '{target_layer.name}' ran "
                f"{len(outputs)} times. Choose another layer."
            )
        logit_sum = logits.gather(1, class_index[:, None]).sum()
        gradients = None
        if logit_sum.requires_grad:
            (gradients,) = torch.autograd.grad(logit_sum, outputs, allow_unused=True)
    if gradients is None:
        raise GroupCamError(
            f"target_layer must have a gradient to the logits; '{target_layer.name}' has none. "
            "Choose another layer."
        )
    activations = to_nchw(outputs[0].detach(), target_layer.layout)
    gradients = to_nchw(gradients, target_layer.layout)
    if not (torch.isfinite(activations).all() and torch.isfinite(gradients).all()):
        raise GroupCamError(
            f"Activations and gradients must be finite; '{target_layer.name}' gave NaN or "
            "infinite values. Check the weights, or choose another layer."
        )
    return logits.detach(), class_index, activations.float(), gradients.float()


@contextmanager
def _recorded_output(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the module's outputs, each cut off from what came before it."""
    outputs: list[Tensor] = []

    def record(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        outputs.append(leaf)
        return leaf.clone()  # the network may go on in place, which a leaf forbids

    handle = module.register_forward_hook(record)
    try:
        yield outputs
    finally:
        handle.remove()
