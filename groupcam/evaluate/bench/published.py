"""Group-CAM and its curves as a plain reading of the paper gives them, to measure against.

Straightforward on purpose, and so are its costs: NCHW, gradients for all parameters, the blur as
one 51 x 51 convolution, all masked pictures in one batch, the curves one forward pass a point.
The results are those of `explain` and `insertion_deletion` at their default settings.

Zhang, Rao, Yang 2021, arXiv:2103.13859; the curves after RISE, arXiv:1806.07421.
"""

import copy
import dataclasses
import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam.metrics import CurveProtocol
from groupcam.models import Backbone, TargetLayer, to_nchw
from groupcam.models.bands import tensors_in
from groupcam.saliency import GroupCamConfig


def plain_copy(backbone: Backbone) -> Backbone:
    """Return the backbone around a copy of its network in PyTorch's usual memory layout."""
    network = copy.deepcopy(backbone.network).to(memory_format=torch.contiguous_format)
    network.eval().requires_grad_(True)
    return dataclasses.replace(backbone, network=network, lock=threading.RLock())


def published_group_cam(
    plain: Backbone, picture: Tensor, layer: TargetLayer, config: GroupCamConfig
) -> Tensor:
    """Return the saliency map (H, W) of the top class.

    Args:
        plain: see `plain_copy`.
        picture: normalised, (1, 3, H, W).
        layer: the target layer.
        config: groups, percentile and blur; masks are merged as scaled to [0, 1].
    """
    activations, gradients, class_index = _activations_and_gradients(plain, picture, layer)
    weighted = activations * gradients.mean(dim=(2, 3), keepdim=True)  # (1, C, h, w)
    channels = weighted.shape[1]
    group = torch.arange(channels, device=picture.device) * config.groups // channels
    sums = [weighted[0, group == number].sum(dim=0) for number in range(config.groups)]
    masks = torch.stack(sums).relu()[:, None]  # (G, 1, h, w)
    if config.percentile is not None:
        cells = masks.flatten(1)
        theta = cells.quantile(config.percentile / 100, dim=1)[:, None, None, None]
        masks = torch.where(masks > theta, masks, 0)
    masks = F.interpolate(masks, picture.shape[-2:], mode="bilinear", align_corners=False)
    low, high = masks.amin(dim=(2, 3), keepdim=True), masks.amax(dim=(2, 3), keepdim=True)
    masks = ((masks - low) / (high - low)).nan_to_num()  # an empty mask is 0/0

    blurred = convolved_blur(picture, config.blur_sigma_px, config.blur_kernel_px)
    masked = picture * masks + blurred * (1 - masks)  # (G, 3, H, W)
    with torch.no_grad():
        baseline = plain.logits(blurred).softmax(dim=1)[0, class_index]
        gains = (plain.logits(masked).softmax(dim=1)[:, class_index] - baseline).relu()
    merged = (gains[:, None, None] * masks[:, 0]).sum(dim=0)
    spread = merged.max() - merged.min()
    return (merged - merged.min()) / (spread if spread > 0 else 1)


def published_curves(
    plain: Backbone,
    picture: Tensor,
    saliency_map: Tensor,
    class_index: int,
    protocol: CurveProtocol,
) -> tuple[Tensor, Tensor]:
    """Return insertion and deletion, (S+1,) each, by one forward pass a point."""
    order = saliency_map.flatten().argsort(descending=True, stable=True).to(picture.device)
    blurred = convolved_blur(picture, protocol.blur_sigma_px, protocol.blur_kernel_px)
    return (
        _curve(plain, blurred, picture, order, class_index, protocol.pixels_per_step),
        _curve(
            plain, picture, torch.zeros_like(picture), order, class_index, protocol.pixels_per_step
        ),
    )


def convolved_blur(picture: Tensor, sigma_px: float, kernel_px: int) -> Tensor:
    """Return the picture (1, 3, H, W) under a Gaussian blur, by a two-dimensional convolution."""
    offsets = torch.arange(kernel_px, device=picture.device) - kernel_px // 2
    row = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    kernel = torch.outer(row, row)
    kernel = (kernel / kernel.sum()).expand(3, 1, -1, -1)
    padded = F.pad(picture, [kernel_px // 2] * 4, mode="reflect")
    return F.conv2d(padded, kernel, groups=3)


def _curve(
    plain: Backbone, start: Tensor, end: Tensor, order: Tensor, class_index: int, step: int
) -> Tensor:
    """Return the class probability while pixels go from `start` to `end` in order."""
    current = start.clone()
    values = []
    for first in range(0, len(order) + step, step):
        with torch.no_grad():
            values.append(plain.logits(current).softmax(dim=1)[0, class_index])
        changed = order[first : first + step]
        current.view(3, -1)[:, changed] = end.view(3, -1)[:, changed]
    return torch.stack(values).cpu()


def _activations_and_gradients(
    plain: Backbone, picture: Tensor, layer: TargetLayer
) -> tuple[Tensor, Tensor, int]:
    """Return activations and gradients (1, C, h, w) at the layer, and the top class."""
    found: dict[str, Tensor] = {}
    calls = 0

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal calls
        if calls == layer.call:
            tensor = dict(tensors_in(output))[layer.path]
            found["activations"] = tensor.detach().clone()
            tensor.register_hook(lambda gradient: found.update(gradients=gradient))
        calls += 1

    handle = plain.network.get_submodule(layer.name).register_forward_hook(keep)
    try:
        logits = plain.logits(picture)
        class_index = int(logits.argmax())
        plain.network.zero_grad()
        logits[0, class_index].backward()
    finally:
        handle.remove()
        plain.network.zero_grad()
    return to_nchw(found["activations"], layer), to_nchw(found["gradients"], layer), class_index
