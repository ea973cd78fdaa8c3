"""The order in which a saliency map's pixels are changed, and the pictures that this gives."""

from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.protocols import DEFAULT_PROTOCOL, CurveProtocol


@dataclass(frozen=True, eq=False)
class PerturbedPictures:
    """One picture and what lies behind every point of its curves."""

    picture: Tensor  # (3, H, W), normalised
    insertion_start: Tensor  # (3, H, W): the baseline that insertion starts from
    deletion_end: Tensor  # (3, H, W): the baseline that deletion ends in
    rank: Tensor  # (H, W), int64: 0 is the most salient pixel

    def inserted(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the baseline with the picture's most salient pixels put back, (B, 3, H, W).

        Args:
            pixels: how many pixels are changed, (B,).
            out: where to put them, (B, 3, H, W); None: into new memory.
        """
        return torch.where(self._is_changed(pixels), self.picture, self.insertion_start, out=out)

    def deleted(self, pixels: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the picture with its most salient pixels hidden, (B, 3, H, W)."""
        return torch.where(self._is_changed(pixels), self.deletion_end, self.picture, out=out)

    def _is_changed(self, pixels: Tensor) -> Tensor:
        """Return which pixels are among the first of the order, bool (B, 1, H, W)."""
        return self.rank < pixels[:, None, None, None]


def perturbed_pictures(
    picture: Tensor, saliency_map: Tensor, protocol: CurveProtocol = DEFAULT_PROTOCOL
) -> PerturbedPictures:
    """Return what makes the perturbed pictures of one picture.

    Args:
        picture: (3, H, W), normalised.
        saliency_map: (H, W).
        protocol: the baselines.
    """
    return PerturbedPictures(
        picture=picture,
        insertion_start=protocol.baseline(protocol.insertion_baseline).of(picture),
        deletion_end=protocol.baseline(protocol.deletion_baseline).of(picture),
        rank=ranks_of(saliency_map).to(picture.device),
    )


def changed_pixels(total_pixels: int, protocol: CurveProtocol) -> Tensor:
    """Return how many pixels are changed at each point, (S+1,): from none to all."""
    steps = -(-total_pixels // protocol.pixels_per_step)
    return (torch.arange(steps + 1) * protocol.pixels_per_step).clamp(max=total_pixels)


def ranks_of(saliency_map: Tensor) -> Tensor:
    """Return each pixel's place in the order of falling saliency, int64 (H, W); 0 comes first.

    Equal pixels keep their reading order: row by row from the top, left to right.
    """
    by_saliency = saliency_map.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(by_saliency)
    rank[by_saliency] = torch.arange(len(by_saliency), device=rank.device)
    return rank.reshape(saliency_map.shape)


def check_maps(inputs: Tensor, saliency_maps: Tensor) -> None:
    """Refuse maps, (N, H, W), that do not belong to the inputs, (N, 3, H, W), or are not finite.

    Raises:
        GroupCamError: so it is.
    """
    if saliency_maps.shape != (len(inputs), *inputs.shape[-2:]):
        raise GroupCamError(
            f"saliency_map must have the input's size, {tuple(inputs.shape[-2:])}; got "
            f"{tuple(saliency_maps.shape[1:])}. Resize it, or give the map that explain returned."
        )
    if not torch.isfinite(saliency_maps).all():
        raise GroupCamError("saliency_map must be finite; got NaN or infinite values.")
