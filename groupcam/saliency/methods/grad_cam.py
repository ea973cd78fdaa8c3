"""Grad-CAM: channels weighted by their mean gradient.

    cam = ReLU(sum_k a_k A_k),  a_k = mean over (h, w) of dy_c/dA_k

Selvaraju et al. 2017, arXiv:1610.02391. The map shows where channels fire that raise the class
logit y_c on the whole. Costs one forward and one backward pass. Flaw: averaging forgets where a
channel counts, so the map may light up cells that the logit does not depend on.
"""

from torch import Tensor

from groupcam.saliency.capture import Capture
from groupcam.saliency.methods.base import Method, cam_steps


def compute_cam(capture: Capture) -> Tensor:
    """Return Grad-CAM before its ReLU, (N, h, w)."""
    return capture.weighted_activations.sum(1)


METHODS = (Method("grad_cam", "Grad-CAM", "arXiv:1610.02391", "cam", cam_steps(compute_cam)),)
