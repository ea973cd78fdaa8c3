"""Grad-CAM++: positive gradients, weighted so that every cell where a channel fires counts alike.

    cam = ReLU(sum_k w_k A_k),  w_k = sum over cells ij of alpha_ij ReLU(g_ij)
    alpha_ij = g_ij^2 / (2 g_ij^2 + sum(A_k) g_ij^3) = 1 / (2 + sum(A_k) g_ij)

with g = dy_c/dA_k; the exponential of the paper's score cancels. Chattopadhay et al. 2018,
arXiv:1710.11063, equations 10, 13 and 19. The map shows all places where channels fire that raise
the class, several objects of it included. Costs one forward and one backward pass. Flaw: negative
gradients are dropped, so the map hardly tells one class from another; the closed form assumes
activations that are not negative.

Widespread code, such as the Group-CAM authors' and torch-cam's, has sum(A_k g^3) for
sum(A_k) g_ij^3, and adds 1e-7 to the denominator, which is more than the denominator itself where
gradients are below 1e-4. `form="widespread"` gives that map.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.capture import Capture
from groupcam.saliency.methods.base import Method, Steps, cam_steps, require_choice

Form = Literal["paper", "widespread"]
WIDESPREAD_EPSILON = 1e-7


def grad_cam_pp(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    form: Form = "paper",
) -> Steps:
    """Return the steps of Grad-CAM++; see `Method`.

    Args:
        form: the paper's closed form of alpha, or that of widespread code.
    """
    require_choice("form", form, get_args(Form))
    alpha_of = _alpha_of_paper if form == "paper" else _alpha_of_code

    def compute_cam(capture: Capture) -> Tensor:
        activations, gradients = capture.activations, capture.gradients
        weights = (alpha_of(activations, gradients) * gradients.relu()).sum((2, 3), keepdim=True)
        return (weights * activations).sum(1)

    return cam_steps(compute_cam)(backbone, inputs, layer, class_index)


def _alpha_of_paper(activations: Tensor, gradients: Tensor) -> Tensor:
    denominator = 2 + activations.sum((2, 3), keepdim=True) * gradients
    return torch.where(denominator != 0, 1 / denominator, 0)


def _alpha_of_code(activations: Tensor, gradients: Tensor) -> Tensor:
    squares = gradients**2
    denominator = 2 * squares + (activations * gradients**3).sum((2, 3), keepdim=True)
    denominator = torch.where(denominator != 0, denominator, 1)
    return squares / (denominator + WIDESPREAD_EPSILON)


METHODS = (Method("grad_cam_pp", "Grad-CAM++", "arXiv:1710.11063", "cam", grad_cam_pp),)
