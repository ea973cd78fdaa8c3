"""HiResCAM: every cell of every channel weighted by its own gradient.

    cam = ReLU(sum_k dy_c/dA_k * A_k), cell by cell

Draelos, Carin 2020, arXiv:2011.08891; the ReLU is that of the drawing. Where the rest of the
network is linear the map adds up to the logit (less its bias), so each cell shows what it adds.
Costs one forward and one backward pass. Flaw: further from the end of the network gradients are
noisy, and so is the map.
"""

from torch import Tensor

from groupcam.saliency.capture import Capture
from groupcam.saliency.methods.base import Method, cam_steps


def compute_cam(capture: Capture) -> Tensor:
    """Return HiResCAM before its ReLU, (N, h, w)."""
    return (capture.gradients * capture.activations).sum(1)


METHODS = (Method("hires_cam", "HiResCAM", "arXiv:2011.08891", "cam", cam_steps(compute_cam)),)
