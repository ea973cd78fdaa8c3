"""FinerCAM: Grad-CAM of the difference between a class and the classes most like it.

    cam = ReLU(sum_k a_k A_k),  a_k = mean over (h, w) of d(y_c - gamma * mean_t y_t)/dA_k

Zhang et al. 2025, arXiv:2501.11309. The T references t are the classes whose logits are nearest to
y_c, or given ones. The map shows what tells the class from them: gamma = 0 is Grad-CAM, 1 the
whole contrast. Costs one forward and one backward pass. Flaw: near in logits need not be near in
looks, and the map says nothing about what the classes share.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    require_at_least,
    size_of,
    to_maps,
)
from groupcam.saliency.methods.passes import derivatives_at, in_micro_batches
from groupcam.steps import relay


def finer_cam(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    gamma: float = 0.6,
    references: int = 3,
    reference_index: Sequence[int] | None = None,
) -> Steps:
    """Return the steps of FinerCAM; see `Method`.

    Args:
        gamma: strength of the comparison.
        references: number of classes compared with, at most all others.
        reference_index: classes to compare every picture with instead; None takes the nearest.

    Raises:
        GroupCamError: there is nothing to compare with, or no such class.
    """
    require_at_least("gamma", gamma, 0)
    require_at_least("references", references, 1)
    require_at_least("the number of classes", len(backbone.class_names), 2)
    given = None
    if reference_index is not None:
        require_at_least("the length of reference_index", len(reference_index), 1)
        indices = [backbone.class_index_of(index) for index in reference_index]
        given = torch.tensor(indices, device=inputs.device)

    def run(chosen: slice) -> Tensor:
        def contrast(logits: Tensor) -> Tensor:
            # Copies, since tensors of inference mode cannot be kept for the backward pass.
            classes = class_index[chosen].clone()
            against = (
                nearest_classes(logits, classes, references) if given is None else given.clone()
            )
            compared = logits.gather(1, against.expand(len(logits), -1)).mean(1)
            return logits.gather(1, classes[:, None])[:, 0] - gamma * compared

        activations, gradients = derivatives_at(backbone, inputs[chosen], layer, contrast)
        return (gradients.mean((2, 3), keepdim=True) * activations).sum(1)

    total = len(inputs)
    cams = yield from relay(
        in_micro_batches(backbone, total, run), lambda done: Progress(done, total)
    )
    return to_maps(torch.cat(cams).relu(), size_of(inputs), 1, 1)


def nearest_classes(logits: Tensor, class_index: Tensor, count: int) -> Tensor:
    """Return the classes whose logits are nearest to that of the given class.

    Args:
        logits: (N, K).
        class_index: (N,).
        count: how many at most.

    Returns:
        Nearest first, (N, min(count, K - 1)); never the class itself.
    """
    own = class_index[:, None]
    distances = (logits.detach() - logits.detach().gather(1, own)).abs()
    distances = distances.scatter(1, own, torch.inf)
    return distances.topk(min(count, logits.shape[1] - 1), dim=1, largest=False).indices


METHODS = (Method("finer_cam", "FinerCAM", "arXiv:2501.11309", "cam", finer_cam),)
