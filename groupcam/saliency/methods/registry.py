"""All saliency methods by name. A new one is a file with its `METHODS` and an entry here."""

from groupcam.saliency.methods import (
    ablation_cam,
    centre,
    eigen_cam,
    finer_cam,
    grad_cam,
    grad_cam_pp,
    group_cam,
    guided_backprop,
    hires_cam,
    integrated_gradients,
    layer_cam,
    occlusion,
    random_map,
    recipro_cam,
    rise,
    score_cam,
    shapley_cam,
    smooth_grad,
    smooth_grad_cam_pp,
    sobel,
    xgrad_cam,
)
from groupcam.saliency.methods.base import Maps, Method, Progress

__all__ = ["METHODS", "Maps", "Method", "Progress"]

_MODULES = (
    group_cam,
    grad_cam,
    grad_cam_pp,
    smooth_grad_cam_pp,
    hires_cam,
    layer_cam,
    xgrad_cam,
    eigen_cam,
    ablation_cam,
    score_cam,
    recipro_cam,
    shapley_cam,
    finer_cam,
    rise,
    occlusion,
    integrated_gradients,
    smooth_grad,
    guided_backprop,
    random_map,
    centre,
    sobel,
)

METHODS: dict[str, Method] = {
    method.name: method for module in _MODULES for method in module.METHODS
}
"""In the order in which tables and menus show them."""
