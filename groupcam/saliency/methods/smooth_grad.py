"""SmoothGrad: the mean gradient of the pixels over noisy copies of the picture.

    S = sum over colours of |mean over samples of dy_c/dx at x + n|,  n normal

Smilkov et al. 2017, arXiv:1706.03825. The map shows the pixels that the logit is most sensitive
to. Costs a forward and a backward pass for every copy. Flaw: sensitivity is not contribution: a
pixel may matter greatly for the class and its small changes not at all.

Own code rather than Captum's NoiseTunnel, which draws from torch's global random state and runs
in one call that can neither report progress nor be stopped.
"""

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    require_at_least,
    size_of,
    to_maps,
)
from groupcam.saliency.methods.noise import draw_noise, span_of
from groupcam.saliency.methods.passes import in_micro_batches, input_gradients
from groupcam.steps import relay


def smooth_grad(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
) -> Steps:
    """Return the steps of SmoothGrad; see `Method`.

    Args:
        samples: number of noisy copies; the paper sees little gain beyond 50.
        noise: deviation of the noise as a fraction of the picture's span of values; the paper
            advises 0.1 to 0.2.
        seed: of the noise, which is the same for every picture.
    """
    require_at_least("samples", samples, 1)
    require_at_least("noise", noise, 0)
    offsets = draw_noise(inputs, samples, seed)
    deviations = noise * span_of(inputs)
    mean = torch.zeros_like(inputs)

    def run(chosen: slice) -> None:
        jobs = torch.arange(chosen.start, chosen.stop, device=inputs.device)
        picture, sample = jobs // samples, jobs % samples
        noisy = inputs[picture] + deviations[picture] * offsets[sample]
        gradients = input_gradients(backbone, noisy, class_index[picture])
        mean.index_add_(0, picture, gradients / samples)

    total = len(inputs) * samples
    yield from relay(in_micro_batches(backbone, total, run), lambda done: Progress(done, total))
    return to_maps(mean.abs().sum(1), size_of(inputs), samples, samples)


METHODS = (Method("smooth_grad", "SmoothGrad", "arXiv:1706.03825", "gradient", smooth_grad),)
