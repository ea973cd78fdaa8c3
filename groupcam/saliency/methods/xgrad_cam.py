"""XGrad-CAM: channels weighted by their gradients where they fire.

    cam = ReLU(sum_k w_k A_k),  w_k = sum over cells ij of (A_k,ij / sum(A_k)) dy_c/dA_k,ij

Fu et al. 2020, arXiv:2008.02312, equation 8. The weights make the map add up, as nearly as one
weight a channel can, to what removing channels takes from the logit. Costs one forward and one
backward pass. Flaw: sum(A_k) may be near 0 where activations have both signs, as after layers
without a ReLU, and then blows a channel up.
"""

import torch
from torch import Tensor

from groupcam.saliency.capture import Capture
from groupcam.saliency.methods.base import Method, cam_steps


def compute_cam(capture: Capture) -> Tensor:
    """Return XGrad-CAM before its ReLU, (N, h, w); a channel whose sum is 0 weighs 0."""
    activations = capture.activations
    sums = activations.sum((2, 3), keepdim=True)
    products = (capture.gradients * activations).sum((2, 3), keepdim=True)
    weights = torch.where(sums != 0, products / torch.where(sums != 0, sums, 1), 0)
    return (weights * activations).sum(1)


METHODS = (Method("xgrad_cam", "XGrad-CAM", "arXiv:2008.02312", "cam", cam_steps(compute_cam)),)
