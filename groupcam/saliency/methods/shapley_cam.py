"""ShapleyCAM: channels weighted by their mean Shapley value, to the second order.

    cam = ReLU(sum_k w_k A_k),  w_k = mean over (h, w) of (G - 1/2 H A)_k

with G the gradient and H the Hessian of a utility u at the activations A. Cai 2025,
arXiv:2501.06261. A_i (G - 1/2 H A)_i is the Shapley value of the activation i in the game u(the
others 0), exact where u is quadratic. The utility is the paper's ReST, y_c + log p_c, or the logit
y_c. The map shows where channels fire that deserve the credit for the class. Costs one forward
and two backward passes. Flaw: after the last layer the logit is linear or nearly so, the Hessian
then tells nothing, and the map with u = y_c is Grad-CAM's.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from groupcam.models import Backbone, TargetLayer, to_nchw
from groupcam.saliency.capture import cut_at
from groupcam.saliency.methods.base import Method, Progress, Steps, require_choice, size_of, to_maps
from groupcam.saliency.methods.passes import gradients_at, in_micro_batches
from groupcam.steps import relay

Utility = Literal["rest", "logit"]


def shapley_cam(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    utility: Utility = "rest",
) -> Steps:
    """Return the steps of ShapleyCAM; see `Method`.

    Args:
        utility: "rest" for y_c + log p_c, "logit" for y_c.
    """
    require_choice("utility", utility, get_args(Utility))

    def run(chosen: slice) -> Tensor:
        classes = class_index[chosen]
        activations, values = shapley_weights(backbone, inputs[chosen], layer, classes, utility)
        return (values.mean((2, 3), keepdim=True) * activations).sum(1)

    total = len(inputs)
    cams = yield from relay(
        in_micro_batches(backbone, total, run), lambda done: Progress(done, total)
    )
    return to_maps(torch.cat(cams).relu(), size_of(inputs), 1, 2)


def shapley_weights(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor, utility: Utility
) -> tuple[Tensor, Tensor]:
    """Return activations A and G - 1/2 H A, both (N, C, h, w).

    What the layer gives beside its map, such as a class token, is no player: it stays in the game.
    """
    with (
        backbone.frozen(),
        torch.inference_mode(False),
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),  # the other kernels of attention have no second derivative
        cut_at(backbone.network, layer) as cuts,
    ):
        logits = backbone.logits(inputs.clone())
        explained = logits.gather(1, class_index.clone()[:, None])[:, 0]
        if utility == "rest":
            explained = 2 * explained - logits.logsumexp(1)  # y_c + log p_c
        output, root = cuts[0]
        gradients = gradients_at(explained, root, layer, create_graph=True)
        curvature = torch.zeros_like(gradients)
        if gradients.requires_grad:
            along = torch.zeros_like(output)
            to_nchw(along, layer).copy_(to_nchw(output, layer))
            (curvature,) = torch.autograd.grad(
                gradients, root, grad_outputs=along, materialize_grads=True
            )
    weights = (gradients - curvature / 2).detach()
    return to_nchw(output, layer).float(), to_nchw(weights, layer).float()


METHODS = (Method("shapley_cam", "ShapleyCAM", "arXiv:2501.06261", "cam", shapley_cam),)
