"""Activations of the target layer and the gradients of the class logit there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.language import say
from groupcam.models import Backbone, TargetLayer, to_nchw
from groupcam.models.bands import tensors_in
from groupcam.models.logits import check_finite

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
    with (
        backbone.frozen(),
        torch.inference_mode(False),
        torch.enable_grad(),
        cut_at(backbone.network, target_layer) as cuts,
    ):
        # A copy, because a module may hand on the very tensor that it gets, to be cut there.
        logits = backbone.logits(inputs.clone())
        # A clone, because a tensor of inference mode cannot be kept for the backward pass.
        class_index = logits.argmax(dim=1) if class_index is None else class_index.clone()
        if not cuts:
            times = target_layer.call + 1
            raise GroupCamError(say("refused.did_not_run", layer=target_layer.name, times=times))
        output, root = cuts[0]
        logit_sum = logits.gather(1, class_index[:, None]).sum()
        gradients = None
        if logit_sum.requires_grad:
            (gradients,) = torch.autograd.grad(logit_sum, root, allow_unused=True)
    if gradients is None:
        raise GroupCamError(say("refused.no_gradient", layer=target_layer.name))
    check_finite(logits, backbone.name)
    activations = to_nchw(output, target_layer)
    gradients = to_nchw(gradients, target_layer)
    if not (torch.isfinite(activations).all() and torch.isfinite(gradients).all()):
        raise GroupCamError(say("refused.layer_not_finite", layer=target_layer.name))
    return logits.detach(), class_index, activations.float(), gradients.float()


@contextmanager
def cut_at(network: nn.Module, target_layer: TargetLayer) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Start the graph at the target layer's tensor.

    Yields a list that gets one entry when the layer has run: a copy of the tensor, which the
    network may go on to overwrite, and the start of the graph, at which the gradient is that of
    the tensor.
    """
    cuts: list[tuple[Tensor, Tensor]] = []
    calls = 0

    def cut(_module: nn.Module, arguments: tuple[Any, ...], output: object) -> object:
        nonlocal calls
        calls += 1
        if calls != target_layer.call + 1:
            return None  # the output stays as it is
        tensor = dict(tensors_in(output))[target_layer.path]
        copy = tensor.detach().clone()
        if any(tensor is argument for _, argument in tensors_in(arguments)):
            # Handed on, perhaps overwritten: whoever else holds it must see the cut as well.
            root = torch.zeros_like(copy).requires_grad_()
            tensor += root
            cuts.append((copy, root))
            return None
        root = copy.clone().requires_grad_()
        cuts.append((copy, root))
        return replace_tensor(output, tensor, root.clone())  # in-place operations forbid a leaf

    handle = network.get_submodule(target_layer.name).register_forward_hook(cut)
    try:
        yield cuts
    finally:
        handle.remove()


def replace_tensor(output: Any, old: Tensor, new: Tensor) -> Any:
    """Return a module's output with a tensor replaced, wherever it occurs."""
    if output is old:
        return new
    kind: Any = type(output)
    if isinstance(output, Mapping):
        return kind({key: replace_tensor(value, old, new) for key, value in output.items()})
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return kind(*(replace_tensor(value, old, new) for value in output))
    if isinstance(output, Sequence) and not isinstance(output, str):
        return kind(replace_tensor(value, old, new) for value in output)
    return output
