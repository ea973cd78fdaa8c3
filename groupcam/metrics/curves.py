"""Deletion and insertion: how the class probability answers when salient pixels go or come.

Protocol of the authors' code (wofmanaf/Group-CAM at ffd807b, after RISE, arXiv:1806.07421):
pixels are taken in order of falling saliency, 448 a step. Insertion starts from the blurred
picture and puts pixels back (a higher AUC is better); deletion starts from the picture and sets
pixels to 0 in normalised space, the mean colour (a lower AUC is better). Both ends are points of
the curve. The AUC is the area by the trapezoid rule against the fraction of pixels changed, in
[0, 1]; it depends on the baseline, so it is not comparable across protocols (protocols.py).
Over-all is insertion AUC - deletion AUC, in [-1, 1], a higher one is better (Group-CAM,
arXiv:2103.13859, section 4). Both curves together cost 2 (S+1) forward passes.

Ties: equal pixels are taken in reading order, row by row from the top, left to right. A flat map
so gives the curves of a curtain that falls from the top.

Known flaw: perturbed pictures are unlike anything that the network was trained on.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from groupcam.metrics.areas import AreaEstimate, area_under_curve, estimate_area
from groupcam.metrics.perturbed import (
    PerturbedPictures,
    changed_pixels,
    check_maps,
    perturbed_pictures,
)
from groupcam.metrics.protocols import DEFAULT_PROTOCOL, CurveProtocol
from groupcam.metrics.refine import Refinement
from groupcam.models import Backbone, View
from groupcam.models.logits import check_finite
from groupcam.saliency.capture import class_probability
from groupcam.saliency.engine import forward, plan_of
from groupcam.saliency.inputs import ClassIndices, PictureSource, prepare_inputs, resolve_classes
from groupcam.steps import finish

__all__ = [
    "DEFAULT_PROTOCOL",
    "CurveProtocol",
    "Curves",
    "CurvesBatch",
    "PartialCurve",
    "PartialCurves",
    "PerturbedPictures",
    "TopClasses",
    "changed_pixels",
    "curve_steps",
    "insertion_deletion",
    "perturbed_pictures",
]


KEPT_CLASSES = 5


@dataclass(frozen=True, eq=False)
class TopClasses:
    """The most probable classes of pictures, the most probable first.

    k is KEPT_CLASSES, or the number of classes where there are fewer.
    """

    indices: Tensor  # (..., k), int64
    probabilities: Tensor  # (..., k)

    def __getitem__(self, picture: int) -> "TopClasses":
        """Return those of one place of the first axis."""
        return TopClasses(self.indices[picture], self.probabilities[picture])


@dataclass(frozen=True, eq=False, repr=False)
class Curves:
    """Insertion and deletion of one picture, class and saliency map, in S steps.

    As the last value of a notebook's cell they show themselves.
    """

    fractions: Tensor  # (S+1,), 0..1: fraction of pixels changed
    insertion: Tensor  # (S+1,): class probability
    deletion: Tensor  # (S+1,): class probability
    insertion_auc: float  # higher is better
    deletion_auc: float  # lower is better
    insertion_top: TopClasses  # (S+1, k): of each perturbed picture
    deletion_top: TopClasses  # (S+1, k)
    class_index: int
    protocol: CurveProtocol

    def __repr__(self) -> str:
        """Return the main facts; the points would fill a screen."""
        return (
            f"Curves(insertion_auc={self.insertion_auc:.4f}, "
            f"deletion_auc={self.deletion_auc:.4f}, class_index={self.class_index}, "
            f"{len(self.fractions) - 1} steps)"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        # Drawing needs matplotlib, which nobody else should wait for.
        from groupcam.share.notebook import curves_html

        return curves_html(self)

    def _repr_svg_(self) -> str:
        """Return the drawing alone, for a notebook that becomes a document."""
        from groupcam.share.notebook import curves_svg

        return curves_svg(self)

    @property
    def over_all(self) -> float:
        """Return insertion AUC - deletion AUC, in [-1, 1]; higher is better."""
        return self.insertion_auc - self.deletion_auc

    @property
    def insertion_top_class(self) -> Tensor:
        """Return the most probable class of each picture, int64 (S+1,)."""
        return self.insertion_top.indices[:, 0]

    @property
    def deletion_top_class(self) -> Tensor:
        """Return the most probable class of each picture, int64 (S+1,)."""
        return self.deletion_top.indices[:, 0]

    @property
    def insertion_retained(self) -> Tensor:
        """Return where the top class is that of the whole picture, bool (S+1,)."""
        # The whole picture ends insertion and begins deletion.
        return self.insertion_top_class == self.insertion_top_class[-1]

    @property
    def deletion_retained(self) -> Tensor:
        """Return where the top class is that of the whole picture, bool (S+1,)."""
        return self.deletion_top_class == self.deletion_top_class[0]


@dataclass(frozen=True, eq=False)
class CurvesBatch:
    """Curves of N pictures; the fractions are shared. `batch[i]` is one picture's Curves."""

    fractions: Tensor  # (S+1,)
    insertion: Tensor  # (N, S+1)
    deletion: Tensor  # (N, S+1)
    insertion_auc: Tensor  # (N,)
    deletion_auc: Tensor  # (N,)
    insertion_top: TopClasses  # (N, S+1, k)
    deletion_top: TopClasses  # (N, S+1, k)
    class_index: Tensor  # (N,), int64
    protocol: CurveProtocol

    @property
    def over_all(self) -> Tensor:
        """Return insertion AUC - deletion AUC of each picture, (N,)."""
        return self.insertion_auc - self.deletion_auc

    @property
    def insertion_retained(self) -> Tensor:
        """Return where the top class is that of the whole picture, bool (N, S+1)."""
        top_class = self.insertion_top.indices[..., 0]
        return top_class == top_class[:, -1:]

    @property
    def deletion_retained(self) -> Tensor:
        """Return where the top class is that of the whole picture, bool (N, S+1)."""
        top_class = self.deletion_top.indices[..., 0]
        return top_class == top_class[:, :1]

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
            insertion_top=self.insertion_top[picture],
            deletion_top=self.deletion_top[picture],
            class_index=int(self.class_index[picture]),
            protocol=self.protocol,
        )


@dataclass(frozen=True, eq=False)
class PartialCurve:
    """The P points of one curve that are ready, in order of the fraction."""

    places: Tensor  # (P,), int64, ascending: which of the complete curve's points these are
    fractions: Tensor  # (P,)
    values: Tensor  # (P,): class probability
    top: TopClasses  # (P, k)
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

    Raises:
        GroupCamError: the maps do not fit the inputs or are not finite.
    """
    check_maps(inputs, saliency_maps)
    if class_index is None:
        class_index = forward(backbone, inputs).argmax(dim=1)
    pixels = changed_pixels(inputs.shape[-2] * inputs.shape[-1], protocol)  # (S+1,)
    fractions = pixels / pixels[-1]
    curves = torch.zeros(2, len(inputs), len(pixels))  # insertion and deletion, on the CPU
    kept = (*curves.shape, min(KEPT_CLASSES, len(backbone.class_names)))
    top = TopClasses(torch.zeros(kept, dtype=torch.int64), torch.zeros(kept))
    micro_batch = plan_of(backbone).micro_batch
    # Used again and again: to lay out new memory takes longer than to fill it.
    perturbed = inputs.new_empty(micro_batch, *inputs.shape[1:])
    for picture in range(len(inputs)):
        pictures = perturbed_pictures(inputs[picture].detach(), saliency_maps[picture], protocol)
        refinement = Refinement(2, len(pixels))
        while points := refinement.next_points(micro_batch):
            points.sort()  # insertion first
            which, places = (torch.tensor(column) for column in zip(*points, strict=True))
            inserted, deleted = (
                pixels[places[which == curve]].to(inputs.device) for curve in (0, 1)
            )
            batch = perturbed[: len(points)]
            pictures.inserted(inserted, out=batch[: len(inserted)])
            pictures.deleted(deleted, out=batch[len(inserted) :])
            classes = class_index[picture].expand(len(batch))
            logits = forward(backbone, batch)
            values = class_probability(logits, classes).cpu()
            check_finite(values, backbone.name)
            curves[which, picture, places] = values
            found = _top_classes(logits, kept[-1])
            top.indices[which, picture, places] = found.indices.cpu()
            top.probabilities[which, picture, places] = found.probabilities.cpu()
            refinement.add(points, values.double().numpy())
            insertion, deletion = (
                PartialCurve(
                    places=ready,
                    fractions=fractions[ready],
                    values=curves[curve, picture, ready],
                    top=TopClasses(
                        top.indices[curve, picture, ready], top.probabilities[curve, picture, ready]
                    ),
                    total=len(pixels),
                )
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
        insertion_top=top[0],
        deletion_top=top[1],
        class_index=class_index.cpu(),
        protocol=protocol,
    )


def _top_classes(logits: Tensor, count: int) -> TopClasses:
    """Return the most probable classes of each row of logits, (N, K)."""
    indices = logits.topk(count, dim=1).indices  # not of probabilities: those may be level at 0
    return TopClasses(indices, logits.float().softmax(dim=1).gather(1, indices))
