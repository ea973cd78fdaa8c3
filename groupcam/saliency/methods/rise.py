"""RISE: the mean of random masks, weighted by the class probability of the picture seen through.

    S = 1 / (M E[m]) sum over masks m of p_c(x * m) m

Petsiuk, Das, Saenko 2018, arXiv:1806.07421. A mask is a coarse grid of cells, each shown with the
same chance, upsampled bilinearly and cut out at a random shift; hidden pixels are 0 in normalised
space. The map shows how probable the class is, on average, when a pixel is shown. Costs one
forward pass a mask, thousands of them. Flaw: with too few masks the map is mostly their own noise.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    generator_of,
    require_at_least,
    require_room,
    size_of,
    to_maps,
)
from groupcam.saliency.methods.passes import in_micro_batches
from groupcam.saliency.scoring import masked_inputs, probabilities
from groupcam.steps import relay


def rise(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    masks: int = 4000,
    cells: int = 7,
    shown: float = 0.5,
    seed: int = 0,
) -> Steps:
    """Return the steps of RISE; see `Method`.

    Args:
        masks: how many; the paper takes 4000 for VGG-16 and 8000 for ResNet-50.
        cells: side of the masks' grid.
        shown: chance of a cell to be shown, between 0 and 1.
        seed: of the masks, which are the same for every picture.
    """
    require_at_least("masks", masks, 1)
    require_at_least("cells", cells, 1)
    if not 0 < shown < 1:
        raise GroupCamError(f"shown must be between 0 and 1; got {shown}. Choose 0.5.")
    require_room("masks", masks, masks * cells**2)
    drawn = RandomMasks(masks, cells, shown, size_of(inputs), seed)
    sums = inputs.new_zeros(len(inputs), *size_of(inputs))

    def run(chosen: slice) -> None:
        jobs = torch.arange(chosen.start, chosen.stop)
        picture = (jobs // masks).to(inputs.device)
        mask = drawn.at(jobs % masks).to(inputs)
        original = inputs[picture]
        batch = masked_inputs(original, torch.zeros_like(original), mask)
        probability = probabilities(backbone, batch, class_index[picture])
        sums.index_add_(0, picture, probability[:, None, None] * mask)

    total = len(inputs) * masks
    yield from relay(in_micro_batches(backbone, total, run), lambda done: Progress(done, total))
    return to_maps(sums / (masks * shown), size_of(inputs), masks, 0)


class RandomMasks:
    """The masks, drawn at once but built when they are needed."""

    def __init__(
        self, count: int, cells: int, shown: float, size: tuple[int, int], seed: int
    ) -> None:
        """Draw `count` grids and shifts for pictures of `size` (H, W)."""
        generator = generator_of(seed)
        self._size = size
        self._cell = tuple(math.ceil(length / cells) for length in size)  # in pixels
        self._grids = torch.rand(count, 1, cells, cells, generator=generator) < shown
        self._shifts = [
            torch.randint(0, cell, (count,), generator=generator) for cell in self._cell
        ]

    def at(self, which: Tensor) -> Tensor:
        """Return the masks with the given numbers, (M, H, W) in [0, 1]."""
        cells = self._grids.shape[-1]
        # One cell more than the picture needs, so that every shift finds a full cutout.
        larger = [(cells + 1) * cell for cell in self._cell]
        upsampled = F.interpolate(self._grids[which].float(), size=larger, mode="bilinear")[:, 0]
        tops, lefts = (shifts[which].tolist() for shifts in self._shifts)
        height, width = self._size
        cutouts = [
            mask[top : top + height, left : left + width]
            for mask, top, left in zip(upsampled, tops, lefts, strict=True)
        ]
        return torch.stack(cutouts)


METHODS = (Method("rise", "RISE", "arXiv:1806.07421", "perturbation", rise),)
