"""ROAD: remove pixels so that their place cannot be seen, and watch the class probability.

The k most salient pixels (or the k least salient ones) are replaced by what their neighbours say
(noisy linear imputation, below), so that the shape of what was removed tells the network nothing.
With p_most and p_least the class probability then,

    ROAD = mean over the removed fractions of (p_least - p_most), in [-1, 1], higher is better.

Per fraction, the mean over pictures of `*_retained` is the accuracy-like figure of the paper, low
when the most salient go first. Fractions 0.1 to 0.9 cost 18 forward passes a picture and as many
imputations, about 0.1 s each at 224 x 224 on one core.

Removed pixels are imputed as impute.py says; Gaussian noise of deviation 0.01, here in normalised
space, is added to them.

Reference:
    Rong, Leemann, Borisov, Kasneci, Kasneci 2022, arXiv:2202.00449; tleemann/road_evaluation.
    pytorch-grad-cam's ROADCombined is half of ROAD here.

Ties: equal pixels go in reading order when the most salient go first; the other order is its
reverse.

Known flaw: what is imputed is smooth, so hiding much of a picture still makes it unlike any other.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.impute import impute
from groupcam.metrics.perturbed import check_maps, ranks_of
from groupcam.models import Backbone
from groupcam.saliency.capture import class_probability
from groupcam.saliency.engine import forward, plan_of

FRACTIONS = tuple(step / 10 for step in range(1, 10))
NOISE = 0.01


@dataclass(frozen=True, eq=False)
class Road:
    """N pictures with F fractions of their pixels removed."""

    fractions: Tensor  # (F,)
    most_salient_removed: Tensor  # (N, F): class probability
    least_salient_removed: Tensor  # (N, F)
    most_retained: Tensor  # bool (N, F): the top class is that of the whole picture
    least_retained: Tensor  # bool (N, F)

    @property
    def score(self) -> Tensor:
        """Return ROAD of each picture, (N,) in [-1, 1]; higher is better."""
        return (self.least_salient_removed - self.most_salient_removed).mean(dim=1)


def road_steps(
    backbone: Backbone,
    inputs: Tensor,
    saliency_maps: Tensor,
    class_index: Tensor,
    *,
    fractions: Sequence[float] = FRACTIONS,
    noise: float = NOISE,
    seed: int = 0,
) -> Generator[int, None, Road]:
    """Remove pixels in both orders; closing the generator stops within one micro-batch.

    Costs 1 + 2 F forward passes a picture.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        saliency_maps: (N, H, W), any finite range: only the order counts.
        class_index: the class of each picture, (N,).
        fractions: how much is removed, each between 0 and 1, both excluded.
        noise: standard deviation of what is added to imputed pixels.
        seed: of the noise; one noise for all pictures of a size, so for every method.

    Yields:
        Forward passes done so far, after every micro-batch.

    Returns:
        The probabilities of all N pictures, on the CPU.

    Raises:
        GroupCamError: the maps do not fit, or a fraction is outside (0, 1).
    """
    check_maps(inputs, saliency_maps)
    if not fractions or not all(0 < fraction < 1 for fraction in fractions):
        raise GroupCamError(
            "fractions must lie between 0 and 1, both excluded: of a picture without any pixel "
            f"nothing can be imputed; got {tuple(fractions)}."
        )
    pixels = inputs.shape[-2] * inputs.shape[-1]
    counts = torch.tensor([round(fraction * pixels) for fraction in fractions])
    counts = counts.clamp(min=1, max=pixels - 1)
    found = torch.zeros(len(inputs), 2 * len(counts))  # most salient first, then least
    is_retained = torch.zeros(found.shape, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    jitter = noise * torch.randn(inputs.shape[1:], generator=generator).to(inputs)
    at_once, done = plan_of(backbone).micro_batch, 0
    for picture in range(len(inputs)):
        top_class = forward(backbone, inputs[picture : picture + 1]).argmax(dim=1)
        done += 1
        rank = ranks_of(saliency_maps[picture]).to(inputs.device)
        limits = torch.cat([counts, pixels - counts]).to(inputs.device)[:, None, None]
        is_removed = rank < limits  # (2 F, H, W)
        is_removed[len(counts) :] ^= True
        for chosen in torch.arange(len(is_removed)).split(at_once):
            batch = impute(inputs[picture], is_removed[chosen], jitter)
            logits = forward(backbone, batch)
            classes = class_index[picture].to(logits.device).expand(len(batch))
            found[picture, chosen] = class_probability(logits, classes).cpu()
            is_retained[picture, chosen] = (logits.argmax(dim=1) == top_class).cpu()
            done += len(batch)
            yield done
    most, least = found.split(len(counts), dim=1)
    most_retained, least_retained = is_retained.split(len(counts), dim=1)
    return Road(torch.tensor(fractions), most, least, most_retained, least_retained)
