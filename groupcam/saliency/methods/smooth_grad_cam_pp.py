"""Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy copies of the picture.

    cam = ReLU(sum_k w_k A_k),  w_k = sum over cells ij of alpha_ij ReLU(mean of g_ij)
    alpha_ij = mean of g_ij^2 / (2 mean of g_ij^2 + sum(A_k) mean of g_ij^3)

with g = dy_c/dA_k of each noisy copy and A of the picture itself. Omeiza et al. 2019,
arXiv:1908.01224; its numerator of alpha, the first derivative, is corrected to the second, as in
torch-cam, so that no noise gives Grad-CAM++. The map shows what Grad-CAM++'s does, less dependent
on single pixels. Costs one forward and one backward pass for every copy, and a forward pass for
the picture itself. Flaw: as Grad-CAM++'s, and the noise moves the picture away from natural ones.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    require_at_least,
    size_of,
    to_maps,
)
from groupcam.saliency.methods.noise import draw_noise, span_of
from groupcam.saliency.methods.passes import activations_at, in_micro_batches
from groupcam.steps import relay


def smooth_grad_cam_pp(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    samples: int = 10,
    noise: float = 0.15,
    seed: int = 0,
) -> Steps:
    """Return the steps of Smooth Grad-CAM++; see `Method`.

    Args:
        samples: number of noisy copies.
        noise: deviation of the noise as a fraction of the picture's span of values.
        seed: of the noise, which is the same for every picture.
    """
    require_at_least("samples", samples, 1)
    require_at_least("noise", noise, 0)
    count = len(inputs)
    total = count * (1 + samples)
    captured = yield from relay(
        in_micro_batches(
            backbone, count, lambda chosen: activations_at(backbone, inputs[chosen], layer)[0]
        ),
        lambda done: Progress(done, total),
    )
    # Cubes of small gradients underflow in float32, and not every device has float64.
    activations = torch.cat(captured).cpu().double()
    offsets = draw_noise(inputs, samples, seed)
    deviations = noise * span_of(inputs)
    means = [torch.zeros_like(activations) for _ in range(3)]  # of g, g^2, g^3

    def run(chosen: slice) -> None:
        jobs = torch.arange(chosen.start, chosen.stop, device=inputs.device)
        picture, sample = jobs // samples, jobs % samples
        noisy = inputs[picture] + deviations[picture] * offsets[sample]
        capture = capture_layer(backbone, noisy, layer, class_index[picture])
        gradients = capture.gradients.cpu().double()
        for power, mean in enumerate(means, start=1):
            mean.index_add_(0, picture.cpu(), gradients**power / samples)

    yield from relay(
        in_micro_batches(backbone, count * samples, run),
        lambda done: Progress(count + done, total),
    )
    first, second, third = means
    denominator = 2 * second + activations.sum((2, 3), keepdim=True) * third
    alpha = torch.where(denominator != 0, second / torch.where(denominator != 0, denominator, 1), 0)
    weights = (alpha * first.relu()).sum((2, 3), keepdim=True)
    cam = (weights * activations).sum(1).relu().float()
    return to_maps(cam, size_of(inputs), 1 + samples, samples)


METHODS = (
    Method(
        "smooth_grad_cam_pp", "Smooth Grad-CAM++", "arXiv:1908.01224", "cam", smooth_grad_cam_pp
    ),
)
