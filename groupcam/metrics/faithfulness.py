"""What the class probability does when only the salient part is shown, or when it is hidden.

With p the probability of the picture x, o that of the picture through its map S,
x S + b (1 - S), and d that of the picture with its map hidden, x (1 - S) + b S, where b is the
baseline (0 in normalised space unless said otherwise):

metric                     a picture's value     range      better  source
average drop               max(0, p - o) / p     [0, 1]     low     Grad-CAM++, arXiv:1710.11063
increase in confidence     1 if o > p, else 0    0 or 1     high    Grad-CAM++, arXiv:1710.11063
average gain               max(0, o - p)/(1 - p) [0, 1]     high    Opti-CAM, arXiv:2301.07002
average drop in deletion   (p - d) / p           up to 1    high    LIFT-CAM, arXiv:2102.05228

The names say "average" because reports give the mean over pictures; here every picture has its
value. Costs three forward passes a picture. A flat map hides everything, or nothing where it is 1.

Known flaws: average drop, increase and gain reward a map that covers the whole picture (drop 0 by
showing everything); increase counts the least gain like the largest; average gain says nothing
about pictures that lose; average drop in deletion rewards covering everything too.
"""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.perturbed import check_maps
from groupcam.metrics.protocols import Baseline
from groupcam.models import Backbone
from groupcam.saliency.engine import plan_of
from groupcam.saliency.scoring import masked_inputs, probabilities

ZERO = Baseline("zero")


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """The three probabilities of N pictures and what follows from them, all (N,)."""

    probability: Tensor  # p: of the picture
    shown: Tensor  # o: of the picture through its map
    hidden: Tensor  # d: of the picture with its map hidden

    @property
    def average_drop(self) -> Tensor:
        """Return max(0, p - o) / p; 0 where p is 0."""
        return average_drop(self.probability, self.shown)

    @property
    def increase_in_confidence(self) -> Tensor:
        """Return 1 where o > p, else 0."""
        return (self.shown > self.probability).to(self.shown.dtype)

    @property
    def average_gain(self) -> Tensor:
        """Return max(0, o - p) / (1 - p); 0 where p is 1, from where nothing can be gained."""
        return _share((self.shown - self.probability).relu(), 1 - self.probability)

    @property
    def average_drop_in_deletion(self) -> Tensor:
        """Return (p - d) / p, negative where hiding helps; 0 where p is 0."""
        return _share(self.probability - self.hidden, self.probability)


def faithfulness_steps(
    backbone: Backbone,
    inputs: Tensor,
    saliency_maps: Tensor,
    class_index: Tensor,
    *,
    baseline: Baseline = ZERO,
) -> Generator[int, None, Faithfulness]:
    """Show and hide what the maps say; closing the generator stops within three micro-batches.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        saliency_maps: (N, H, W) in [0, 1].
        class_index: the class of each picture, (N,).
        baseline: what stands where the map hides.

    Yields:
        Pictures done so far, after every micro-batch.

    Returns:
        The probabilities of all N pictures, on the CPU.

    Raises:
        GroupCamError: the maps do not fit the inputs or are not in [0, 1].
    """
    check_unit_maps(inputs, saliency_maps)
    at_once = plan_of(backbone).micro_batch
    found = torch.zeros(3, len(inputs))
    for start in range(0, len(inputs), at_once):
        chosen = slice(start, start + at_once)
        pictures, classes = inputs[chosen], class_index[chosen].to(inputs.device)
        maps, behind = saliency_maps[chosen].to(inputs), baseline.of(inputs[chosen])
        shown = masked_inputs(pictures, behind, maps)
        hidden = masked_inputs(pictures, behind, 1 - maps)
        for row, batch in zip(found, (pictures, shown, hidden), strict=True):
            row[chosen] = probabilities(backbone, batch, classes).cpu()
        yield min(start + at_once, len(inputs))
    return Faithfulness(*found)


def average_drop(probability: Tensor, shown: Tensor) -> Tensor:
    """Return max(0, p - o) / p of each picture, (N,); 0 where p is 0."""
    return _share((probability - shown).relu(), probability)


def check_unit_maps(inputs: Tensor, saliency_maps: Tensor) -> None:
    """Refuse maps that cannot mix pictures.

    Raises:
        GroupCamError: they do not fit the inputs, or a value is outside [0, 1].
    """
    check_maps(inputs, saliency_maps)
    if saliency_maps.numel() and not 0 <= saliency_maps.min() <= saliency_maps.max() <= 1:
        raise GroupCamError(
            "saliency_map must be in [0, 1] to show and hide pixels; got values from "
            f"{float(saliency_maps.min()):g} to {float(saliency_maps.max()):g}. Scale it by "
            "min_max_scale."
        )


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole, 0 where the whole is 0: the one place where 0/0 could arise."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1), 0)
