"""Deletion and insertion: how the class probability answers when salient pixels go or come.

Protocol of the authors' code (wofmanaf/Group-CAM at ffd807b, after RISE, arXiv:1806.07421):
pixels are taken in order of falling saliency, 448 a step. Insertion starts from the blurred
picture and puts pixels back (a higher AUC is better); deletion starts from the picture and sets
pixels to 0 in normalised space, the mean colour (a lower AUC is better). Both ends are points of
the curve. The AUC is the area by the trapezoid rule against the fraction of pixels changed; it
depends on the baseline, so it is not comparable across protocols.

Known flaw: perturbed pictures are unlike anything that the network was trained on.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.areas import AreaEstimate, area_under_curve, estimate_area
from groupcam.metrics.refine import Refinement
from groupcam.models import Backbone, View
from groupcam.saliency.engine import plan_of
from groupcam.saliency.inputs import ClassIndices, PictureSource, prepare_inputs, resolve_classes
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.scoring import probabilities
from groupcam.steps import finish


@dataclass(frozen=True)
class CurveProtocol:
    """How the pictures of the curves are made. The defaults are the authors'.

    Raises:
        GroupCamError: pixels_per_step is below 1.
    """

    pixels_per_step: int = 448
    blur_sigma_px: float = 50.0
    blur_kernel_px: int = 51

    def __post_init__(self) -> None:
        """Check the step size."""
        if self.pixels_per_step < 1:
            raise GroupCamError(
                f"pixels_per_step must be at least 1; got {self.pixels_per_step}. "
                "Choose more pixels a step."
            )

    @classmethod
    def with_steps(cls, steps: int, size: tuple[int, int]) -> "CurveProtocol":
        """Return the protocol that takes at most this many steps at an input size (H, W)."""
        return cls(pixels_per_step=-(-size[0] * size[1] // steps))


DEFAULT_PROTOCOL = CurveProtocol()


@dataclass(frozen=True, eq=False)
class Curves:
    """Insertion and deletion of one picture, class and saliency map, in S steps."""

    fractions: Tensor  # (S+1,), 0..1: fraction of pixels changed
    insertion: Tensor  # (S+1,): class probability
    deletion: Tensor  # (S+1,): class probability
    insertion_auc: float  # higher is better
    deletion_auc: float  # lower is better
    class_index: int
    protocol: CurveProtocol


@dataclass(frozen=True, eq=False)
class CurvesBatch:
    """Curves of N pictures; the fractions are shared. `batch[i]` is one picture's Curves."""

    fractions: Tensor  # (S+1,)
    insertion: Tensor  # (N, S+1)
    deletion: Tensor  # (N, S+1)
    insertion_auc: Tensor  # (N,)
    deletion_auc: Tensor  # (N,)
    class_index: Tensor  # (N,), int64
    protocol: CurveProtocol

    def __len__(self) -> int:
        """Return the number of pictures N."""
        return len(self.insertion)

    def __iter__(self) -> Iterator[Curves]:
        """Go through the pictures."""
        return (self[picture] for picture in range(len(self)))

    def __getitem__(self, picture: int) -> Curves:
        """Return the curves of one picture."""
        return Curves(
            fractions=self.fractions,
            insertion=self.insertion[picture],
            deletion=self.deletion[picture],
            insertion_auc=float(self.insertion_auc[picture]),
            deletion_auc=float(self.deletion_auc[picture]),
            class_index=int(self.class_index[picture]),
            protocol=self.protocol,
        )


@dataclass(frozen=True, eq=False)
class PartialCurve:
    """The P points of one curve that are ready, in order of the fraction."""

    fractions: Tensor  # (P,)
    values: Tensor  # (P,): class probability
    total: int  # S+1

    @property
    def area(self) -> AreaEstimate:
        """Return what the AUC will be, about."""
        return estimate_area(self.values, self.fractions, self.total)


@dataclass(frozen=True, eq=False)
class PartialCurves:
    """What is ready of one picture's curves."""

    picture: int  # 0..N-1
    insertion: PartialCurve
    deletion: PartialCurve

    @property
    def done(self) -> int:
        """Return how many points are ready."""
        return len(self.insertion.values) + len(self.deletion.values)

    @property
    def total(self) -> int:
        """Return how many points there are in all, 2 (S+1)."""
        return self.insertion.total + self.deletion.total


@dataclass(frozen=True, eq=False)
class PerturbedPictures:
    """One picture and what lies behind every point of its curves."""

    picture: Tensor  # (3, H, W), normalised
    blurred: Tensor  # (3, H, W)
    rank: Tensor  # (H, W), int64: 0 is the most salient pixel

    def inserted(self, pixels: Tensor) -> Tensor:
        """Return the blurred picture with its most salient pixels put back, (B, 3, H, W).

        Args:
            pixels: how many pixels are changed, (B,).
        """
        return torch.where(self._is_changed(pixels), self.picture, self.blurred)

    def deleted(self, pixels: Tensor) -> Tensor:
        """Return the picture with its most salient pixels set to 0, (B, 3, H, W)."""
        return torch.where(self._is_changed(pixels), 0, self.picture)

    def _is_changed(self, pixels: Tensor) -> Tensor:
        """Return which pixels are among the first of the order, bool (B, 1, H, W)."""
        return self.rank < pixels[:, None, None, None]


@overload
def insertion_deletion(
    backbone: Backbone,
    image: Tensor,
    saliency_map: Tensor,
    class_index: ClassIndices | None = ...,
    *,
    protocol: CurveProtocol = ...,
) -> CurvesBatch: ...


@overload
def insertion_deletion(
    backbone: Backbone,
    image: PictureSource,
    saliency_map: Tensor,
    class_index: int | None = ...,
    *,
    view: View = ...,
    protocol: CurveProtocol = ...,
) -> Curves: ...


def insertion_deletion(
    backbone: Backbone,
    image: PictureSource | Tensor,
    saliency_map: Tensor,
    class_index: ClassIndices | None = None,
    *,
    view: View = "crop",
    protocol: CurveProtocol = DEFAULT_PROTOCOL,
) -> Curves | CurvesBatch:
    """Return the insertion and deletion curves of a saliency map. Costs 2 (S+1) forward passes.

    Args:
        backbone: see `load_backbone`.
        image: as in `explain`.
        saliency_map: (H, W) at the input's size; for an image tensor (N, H, W).
        class_index: the class whose probability is followed; None takes the top class.
        view: as in `explain`; it must be the one that the map was made with.
        protocol: how the perturbed pictures are made.

    Raises:
        GroupCamError: the map does not fit the input or is not finite.
        TypeError: a value is of the wrong type.
    """
    inputs = prepare_inputs(backbone, image, view)
    classes = resolve_classes(backbone, class_index, len(inputs))
    maps = saliency_map if isinstance(image, Tensor) else saliency_map[None]
    batch = finish(curve_steps(backbone, inputs, maps, classes, protocol=protocol))
    return batch if isinstance(image, Tensor) else batch[0]


def curve_steps(
    backbone: Backbone,
    inputs: Tensor,
    saliency_maps: Tensor,
    class_index: Tensor | None = None,
    *,
    protocol: CurveProtocol = DEFAULT_PROTOCOL,
) -> Generator[PartialCurves, None, CurvesBatch]:
    """Compute the curves step by step; closing the generator stops within one micro-batch.

    Points come coarse to fine (both ends, the middle, the quarters, then where the curves bend
    most), so the shape of the curves and their areas are known early.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        saliency_maps: (N, H, W), any finite range: only the order counts.
        class_index: the class of each picture, (N,), or None for the top one.
        protocol: how the perturbed pictures are made.

    Yields:
        The points that are ready, after every micro-batch.

    Returns:
        The curves of all N pictures, on the CPU.
    """
    if saliency_maps.shape != (len(inputs), *inputs.shape[-2:]):
        raise GroupCamError(
            f"saliency_map must have the input's size, {tuple(inputs.shape[-2:])}; got "
            f"{tuple(saliency_maps.shape[1:])}. Resize it, or give the map that explain returned."
        )
    if not torch.isfinite(saliency_maps).all():
        raise GroupCamError("saliency_map must be finite; got NaN or infinite values.")
    if class_index is None:
        with backbone.frozen(), torch.no_grad():
            class_index = torch.cat(
                [backbone.logits(chunk).argmax(dim=1) for chunk in inputs.split(16)]
            )
    pixels = changed_pixels(inputs.shape[-2] * inputs.shape[-1], protocol)  # (S+1,)
    fractions = pixels / pixels[-1]
    curves = torch.zeros(2, len(inputs), len(pixels))  # insertion and deletion, on the CPU
    micro_batch = plan_of(backbone).micro_batch
    for picture in range(len(inputs)):
        pictures = perturbed_pictures(inputs[picture], saliency_maps[picture], protocol)
        refinement = Refinement(2, len(pixels))
        while points := refinement.next_points(micro_batch):
            points.sort()  # insertion first
            which, places = (torch.tensor(column) for column in zip(*points, strict=True))
            inserted, deleted = (
                pixels[places[which == curve]].to(inputs.device) for curve in (0, 1)
            )
            batch = torch.cat([pictures.inserted(inserted), pictures.deleted(deleted)])
            classes = class_index[picture].expand(len(batch))
            values = probabilities(backbone, batch, classes).cpu()
            curves[which, picture, places] = values
            refinement.add(points, values.double().numpy())
            insertion, deletion = (
                PartialCurve(fractions[ready], curves[curve, picture, ready], len(pixels))
                for curve in (0, 1)
                for ready in [torch.from_numpy(refinement.ready(curve))]
            )
            yield PartialCurves(picture, insertion, deletion)
    insertions, deletions = curves
    return CurvesBatch(
        fractions=fractions,
        insertion=insertions,
        deletion=deletions,
        insertion_auc=area_under_curve(insertions, fractions),
        deletion_auc=area_under_curve(deletions, fractions),
        class_index=class_index.cpu(),
        protocol=protocol,
    )


def perturbed_pictures(
    picture: Tensor, saliency_map: Tensor, protocol: CurveProtocol = DEFAULT_PROTOCOL
) -> PerturbedPictures:
    """Return what makes the perturbed pictures of one picture.

    Equal pixels keep their reading order: row by row from the top, left to right.

    Args:
        picture: (3, H, W), normalised.
        saliency_map: (H, W).
        protocol: the blur behind insertion.
    """
    by_saliency = saliency_map.flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(by_saliency)
    rank[by_saliency] = torch.arange(len(by_saliency), device=rank.device)
    return PerturbedPictures(
        picture=picture,
        blurred=gaussian_blur(picture, protocol.blur_sigma_px, protocol.blur_kernel_px),
        rank=rank.reshape(saliency_map.shape).to(picture.device),
    )


def changed_pixels(total_pixels: int, protocol: CurveProtocol) -> Tensor:
    """Return how many pixels are changed at each point, (S+1,): from none to all."""
    steps = -(-total_pixels // protocol.pixels_per_step)
    return (torch.arange(steps + 1) * protocol.pixels_per_step).clamp(max=total_pixels)
