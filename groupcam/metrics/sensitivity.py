"""Max-sensitivity: how far the map moves when the picture moves by almost nothing.

    max over M random y with |y - x| <= r in every value of ||S(y) - S(x)|| / ||S(x)||,

Euclidean norms over the pixels, in [0, inf), lower is better. The M pictures y are drawn from a
seed, uniformly; the class stays the one of x. Where S(x) is all zeros the value is 0 if every S(y)
is too, else 1. Costs 1 + M maps a picture, M = 10 unless said otherwise.

Reference:
    Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, arXiv:1901.09392; divided by ||S(x)|| and with
    r = 0.02 as Captum's sensitivity_max has it. r is in units of the normalised input.

Known flaw: a map that is the same for every picture is perfect, and a few random samples only bound
the maximum from below.
"""

from collections.abc import Generator

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.map_of import MapOf, maps_of
from groupcam.models import Backbone

RADIUS = 0.02
SAMPLES = 10


def max_sensitivity_steps(
    backbone: Backbone,
    inputs: Tensor,
    class_index: Tensor,
    map_of: MapOf,
    *,
    radius: float = RADIUS,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Generator[int, None, Tensor]:
    """Explain pictures near each picture; closing the generator stops within one map of all.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        class_index: the class of each picture, (N,).
        map_of: the method.
        radius: r, > 0.
        samples: M, at least 1.
        seed: of the pictures y.

    Yields:
        Maps done of each picture, 1 to 1 + M.

    Returns:
        The largest relative change of each picture's map, (N,), on the CPU.

    Raises:
        GroupCamError: the radius or the number of samples is not possible.
    """
    if not radius > 0 or samples < 1:
        raise GroupCamError(
            "radius must be above 0 and samples at least 1; got "
            f"radius={radius}, samples={samples}."
        )
    generator = torch.Generator().manual_seed(seed)
    maps = maps_of(map_of, backbone, inputs, class_index)
    yield 1
    largest = torch.zeros(len(inputs))
    for sample in range(samples):
        # One shift for all pictures: the result does not depend on how they are batched.
        shift = radius * (2 * torch.rand(inputs.shape[1:], generator=generator) - 1)
        moved = maps_of(map_of, backbone, inputs + shift.to(inputs), class_index)
        largest = torch.maximum(largest, _relative_change(maps, moved))
        yield 2 + sample
    return largest


def _relative_change(maps: Tensor, moved: Tensor) -> Tensor:
    """Return ||moved - maps|| / ||maps||, (N,); 1 where only the map is all zeros."""
    change = torch.linalg.vector_norm(moved - maps, dim=(1, 2))
    size = torch.linalg.vector_norm(maps, dim=(1, 2))
    return torch.where(size > 0, change / torch.where(size > 0, size, 1), (change > 0).to(change))
