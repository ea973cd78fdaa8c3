"""LayerCAM: every cell of every channel weighted by the positive part of its own gradient.

    cam = ReLU(sum_k ReLU(dy_c/dA_k) * A_k), cell by cell

Jiang, Zhang, Hou, Cheng, Wei 2021, IEEE TIP 30, doi:10.1109/TIP.2021.3089943, equation 7; the
maps of several layers that the paper fuses are left apart. The map shows where something that
raises the class fires, also in early, finer layers. Costs one forward and one backward pass.
Flaw: what speaks against the class is ignored.
"""

from torch import Tensor

from groupcam.saliency.capture import Capture
from groupcam.saliency.methods.base import Method, cam_steps

PAPER = "doi:10.1109/TIP.2021.3089943"


def compute_cam(capture: Capture) -> Tensor:
    """Return LayerCAM before its ReLU, (N, h, w)."""
    return (capture.gradients.relu() * capture.activations).sum(1)


METHODS = (Method("layer_cam", "LayerCAM", PAPER, "cam", cam_steps(compute_cam)),)
