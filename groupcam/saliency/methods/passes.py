"""Forward and backward passes that several methods share; the network is left as found by each."""

from collections.abc import Callable, Generator
from typing import TypeVar

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, TargetLayer, to_nchw
from groupcam.saliency.capture import cut_at
from groupcam.saliency.engine import plan_of

Part = TypeVar("Part")
Objective = Callable[[Tensor], Tensor]  # from logits (N, K) to what is explained, (N,)


def in_micro_batches(
    backbone: Backbone, count: int, run: Callable[[slice], Part]
) -> Generator[int, None, list[Part]]:
    """Run passes in micro-batches; yields how many are done, returns what each run gave.

    When memory runs out, micro-batches are halved: those of backward passes need more than the
    plan, which is made for forward passes, knows of.

    Args:
        backbone: the network, whose plan says how many passes run at once.
        count: number of passes.
        run: does the passes of a slice of 0..count, or leaves all as it was and raises.

    Raises:
        torch.OutOfMemoryError: there is no memory even for one pass.
    """
    parts: list[Part] = []
    at_once = plan_of(backbone).micro_batch
    start = 0
    while start < count:
        stop = min(start + at_once, count)
        try:
            parts.append(run(slice(start, stop)))
        except torch.OutOfMemoryError:
            if stop - start == 1:
                raise
            at_once = (stop - start) // 2
            continue
        start = stop
        yield stop
    return parts


def activations_at(backbone: Backbone, inputs: Tensor, layer: TargetLayer) -> tuple[Tensor, Tensor]:
    """Return the layer's activations, float32 (N, C, h, w), and the logits (N, K).

    Costs one forward pass; no gradient is computed.
    """
    with backbone.frozen(), torch.no_grad(), cut_at(backbone.network, layer) as cuts:
        logits = backbone.logits(inputs.clone())
    return to_nchw(cuts[0][0], layer).float(), logits.float()


def derivatives_at(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, objective: Objective
) -> tuple[Tensor, Tensor]:
    """Return the layer's activations and the objective's gradients there, both (N, C, h, w).

    Costs one forward and one backward pass. What `capture_layer` does for the class logit, this
    does for any function of the logits.

    Raises:
        GroupCamError: the objective does not depend on the layer.
    """
    with (
        backbone.frozen(),
        torch.inference_mode(False),
        torch.enable_grad(),
        cut_at(backbone.network, layer) as cuts,
    ):
        explained = objective(backbone.logits(inputs.clone()))
        output, root = cuts[0]
        gradients = gradients_at(explained, root, layer)
    return to_nchw(output, layer).float(), to_nchw(gradients, layer).float()


def gradients_at(
    explained: Tensor, root: Tensor, layer: TargetLayer, *, create_graph: bool = False
) -> Tensor:
    """Return d(explained)/d(root), in the layout of the layer's own output.

    Raises:
        GroupCamError: there is no such gradient.
    """
    (gradients,) = torch.autograd.grad(
        explained.sum(), root, create_graph=create_graph, allow_unused=True
    )
    if gradients is None:
        raise GroupCamError(
            f"target_layer must have a gradient to the logits; '{layer.name}' has none. "
            "Choose another layer."
        )
    return gradients


def input_gradients(backbone: Backbone, inputs: Tensor, class_index: Tensor) -> Tensor:
    """Return d(class logit)/d(inputs), (N, 3, H, W). Costs one forward and one backward pass.

    Zeros where the logit does not depend on the picture.
    """
    with backbone.frozen(), torch.inference_mode(False), torch.enable_grad():
        pixels = inputs.clone().requires_grad_()
        # A copy goes in, since a network may change its input in place.
        logits = backbone.logits(pixels.clone())
        explained = logits.gather(1, class_index.clone()[:, None]).sum()
        if not explained.requires_grad:
            return torch.zeros_like(inputs)
        (gradients,) = torch.autograd.grad(explained, pixels, materialize_grads=True)
    return gradients
