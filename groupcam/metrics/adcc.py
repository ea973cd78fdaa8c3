"""ADCC: average drop, coherency and complexity in one number.

ADCC = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)), the harmonic mean, in
[0, 1], higher is better; 0 where one of the three is at its worst. With S the map of picture x:

* average drop: as in faithfulness.py, low is better;
* coherency: (1 + Pearson(S, map of x S)) / 2 in [0, 1]: the picture through its map should have
  the same map; high is better. Flat maps: 1 if both are flat, 0.5 if only one is;
* complexity: the mean of S in [0, 1], low is better.

Costs two forward passes and one further map a picture.

Reference:
    Poppi, Cornia, Baraldi, Cucchiara 2021, arXiv:2104.10252. Their code at aimagelab/ADCC lacks
    the inverse (adcc.py multiplies 3 by the sum); the formula here is the paper's.

Known flaw: complexity rewards any small map, and the harmonic mean lets the worst of the three
decide.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.metrics.faithfulness import ZERO, average_drop, check_unit_maps
from groupcam.metrics.map_of import MapOf, maps_of
from groupcam.metrics.protocols import Baseline
from groupcam.metrics.similarity import pearson
from groupcam.models import Backbone
from groupcam.saliency.engine import plan_of
from groupcam.saliency.scoring import masked_inputs, probabilities


@dataclass(frozen=True, eq=False)
class Adcc:
    """ADCC of N pictures and its parts, all (N,)."""

    average_drop: Tensor
    coherency: Tensor
    complexity: Tensor

    @property
    def score(self) -> Tensor:
        """Return the harmonic mean of each picture's parts."""
        return adcc(self.average_drop, self.coherency, self.complexity)


def adcc(average_drop: Tensor, coherency: Tensor, complexity: Tensor) -> Tensor:
    """Return ADCC of its parts, each in [0, 1]: of pictures, (N,), or of a data set's means, ()."""
    parts = torch.stack([coherency, 1 - complexity, 1 - average_drop])
    is_worst = (parts <= 0).any(dim=0)
    return torch.where(is_worst, 0, 3 / torch.where(parts > 0, parts, 1).reciprocal().sum(dim=0))


def complexity(saliency_maps: Tensor) -> Tensor:
    """Return the mean of each map, (N,) in [0, 1], for maps (N, H, W) in [0, 1]."""
    return saliency_maps.float().mean(dim=(-2, -1))


def adcc_steps(
    backbone: Backbone,
    inputs: Tensor,
    saliency_maps: Tensor,
    class_index: Tensor,
    map_of: MapOf,
    *,
    baseline: Baseline = ZERO,
) -> Generator[int, None, Adcc]:
    """Explain what the maps show; closing the generator stops within one micro-batch of maps.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        saliency_maps: the method's maps of them, (N, H, W) in [0, 1].
        class_index: the class of each picture, (N,).
        map_of: the method.
        baseline: what stands where the map hides.

    Yields:
        Pictures done so far, after every micro-batch.

    Returns:
        The parts of all N pictures, on the CPU.

    Raises:
        GroupCamError: the maps do not fit the inputs or are not in [0, 1].
    """
    check_unit_maps(inputs, saliency_maps)
    at_once = plan_of(backbone).micro_batch
    drop, coherency = torch.zeros(2, len(inputs))
    for start in range(0, len(inputs), at_once):
        chosen = slice(start, start + at_once)
        pictures, classes = inputs[chosen], class_index[chosen].to(inputs.device)
        maps = saliency_maps[chosen]
        shown = masked_inputs(pictures, baseline.of(pictures), maps.to(inputs))
        drop[chosen] = average_drop(
            probabilities(backbone, pictures, classes), probabilities(backbone, shown, classes)
        ).cpu()
        again = maps_of(map_of, backbone, shown, classes)
        pairs = zip(maps.cpu(), again, strict=True)
        coherency[chosen] = torch.tensor([(1 + pearson(*pair)) / 2 for pair in pairs])
        yield min(start + at_once, len(inputs))
    return Adcc(drop, coherency, complexity(saliency_maps).cpu())
