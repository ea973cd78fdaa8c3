"""Sobel edges: a control that sees the picture but not the network.

The gradient magnitude of the grey picture under the 3 x 3 Sobel filters, borders repeated. A
method whose maps resemble it draws edges rather than reasons (Adebayo et al. 2018,
arXiv:1810.03292). Costs no pass.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import Method, Progress, Steps, size_of, to_maps


def sobel(backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor) -> Steps:
    """Return the steps of the Sobel control; see `Method`."""
    yield Progress(0, 0)
    edges = [_edges(rgb) for rgb in backbone.preprocessing.to_rgb(inputs)]
    return to_maps(torch.from_numpy(np.stack(edges)), size_of(inputs), 0, 0)


def _edges(rgb: np.ndarray) -> np.ndarray:
    """Return the gradient magnitude, float32 (H, W), of a picture, uint8 (H, W, 3)."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(across, down)


METHODS = (Method("sobel", "Sobel edges", "", "control", sobel),)
