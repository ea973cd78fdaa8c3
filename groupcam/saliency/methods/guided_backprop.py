"""Guided backpropagation: the pixels' gradient without what is negative at activation functions.

    at each ReLU, going back: dy/dx = 1[x > 0] ReLU(dy/dReLU(x))

Springenberg et al. 2014, arXiv:1412.6806. The map shows fine structure that excites units which
excite the class: the sum over colours without regard to sign. Costs one forward and one backward
pass. Flaw: it nearly rebuilds the picture's edges and hardly depends on the class or on the
weights of late layers (Adebayo et al. 2018, arXiv:1810.03292).

The paper knows ReLU only. Its relatives below are treated alike: the negative part of what comes
back to one is dropped, its own derivative stays. Calls of the functions are watched while the
network runs, so neither the network nor its modules change; Captum's version sets hooks on
`nn.ReLU` modules and misses the ReLU6 of EfficientNet-Lite and every function that is no module.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import Method, Progress, Steps, size_of, to_maps
from groupcam.saliency.methods.passes import in_micro_batches, input_gradients
from groupcam.steps import relay

ACTIVATION_FUNCTIONS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.relu6),
        *(F.hardtanh, F.leaky_relu, F.prelu, torch.prelu, Tensor.prelu, F.elu, F.selu, F.celu),
        *(F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
    }
)


def guided_backprop(
    backbone: Backbone, inputs: Tensor, layer: TargetLayer, class_index: Tensor
) -> Steps:
    """Return the steps of guided backpropagation; see `Method`."""

    def run(chosen: slice) -> Tensor:
        with _PositiveGradients():
            return input_gradients(backbone, inputs[chosen], class_index[chosen])

    total = len(inputs)
    gradients = yield from relay(
        in_micro_batches(backbone, total, run), lambda done: Progress(done, total)
    )
    return to_maps(torch.cat(gradients).abs().sum(1), size_of(inputs), 1, 1)


class _PositiveGradients(TorchFunctionMode):
    """Lets only positive gradients back into activation functions that this thread calls."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in ACTIVATION_FUNCTIONS and output.requires_grad:
            output.register_hook(torch.relu)
        return output


METHODS = (
    Method(
        "guided_backprop",
        "Guided backpropagation",
        "arXiv:1412.6806",
        "gradient",
        guided_backprop,
    ),
)
