"""One picture, one network, one layer: all methods and metrics, as one entry of the results."""

import base64
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import Sample
from groupcam.evaluate.measures import BOX_METRICS, MapCase, measure, randomized
from groupcam.evaluate.mosaics import Mosaics
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.evaluate.variants import Variant
from groupcam.images import open_picture
from groupcam.metrics.annotations import AnnotatedPicture
from groupcam.metrics.coco_imagenet import (
    VOC_TO_COCO,
    category_of,
    imagenet_classes,
    likeliest_class,
)
from groupcam.metrics.localisation import box_mask
from groupcam.models import Backbone
from groupcam.models.preprocessing import inner_part
from groupcam.saliency.engine import forward

THUMBNAIL_PX = 32  # side of the maps that entries keep for the report
LONGEST_REASON = 300  # characters

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Subject:
    """What pictures are shown to."""

    backbone: Backbone
    target_layer: str
    settings: EvaluateSettings
    mosaics: Mosaics | None = None  # None: there are no other pictures

    @cached_property
    def forgetful(self) -> Backbone:
        """Return the network with random weights, made when it is first asked for."""
        return randomized(self.backbone)

    @cached_property
    def wordnet_ids(self) -> dict[str, int]:
        """Return the class of each WordNet id."""
        return wordnet_ids_of(self.backbone)


def wordnet_ids_of(backbone: Backbone) -> dict[str, int]:
    """Return the class of each WordNet id; none where the classes are not ImageNet's."""
    subset = infer_imagenet_subset({"num_classes": len(backbone.class_names)})
    if subset is None:
        return {}
    names: list[str] = ImageNetInfo(subset).label_names()
    return {name: index for index, name in enumerate(names)}


def evaluate_picture(subject: Subject, sample: Sample) -> dict[str, Any]:
    """Return the facts of a picture and the numbers of every method, as plain data.

    What goes wrong becomes part of the result: `error` of the picture, or of one method.
    """
    started = time.perf_counter()
    try:
        shown = _show(subject, sample)
    except Exception as error:
        return {"error": _reason(error, sample.name)}
    methods = {
        variant.name: _evaluate_method(subject, sample, shown, variant.for_picture(sample.name))
        for variant in subject.settings.variants
    }
    return {**shown.facts, "methods": methods, "elapsed_s": time.perf_counter() - started}


def decode_thumbnail(text: str) -> npt.NDArray[np.float32]:
    """Return the small saliency map of an entry, float32 (h, w) in [0, 1]."""
    values = np.frombuffer(base64.b64decode(text), np.uint8).reshape(THUMBNAIL_PX, THUMBNAIL_PX)
    return values.astype(np.float32) / np.float32(255)


@dataclass(frozen=True, eq=False)
class _Shown:
    """A picture as the network sees it."""

    inputs: Tensor  # (1, 3, H, W)
    class_index: Tensor  # (1,)
    inner: tuple[int, int, int, int]  # the part of the input that holds picture
    box_mask: Tensor | None  # bool (H, W)
    facts: dict[str, Any]


def _show(subject: Subject, sample: Sample) -> _Shown:
    """Show the picture to the network and choose the class."""
    backbone, settings = subject.backbone, subject.settings
    picture = open_picture(sample.path)
    size = (picture.rgb.shape[0], picture.rgb.shape[1])
    inputs = backbone.preprocess(picture.rgb, settings.view)
    logits = forward(backbone, inputs)[0].float()
    if not torch.isfinite(logits).all():
        raise GroupCamError("The logits must be finite; the network gave NaN or infinite values.")
    needs_boxes = any(metric in BOX_METRICS for metric in settings.metrics)
    annotation = None
    if needs_boxes or settings.explained == "label":
        annotation = sample.annotation()
        if annotation is not None and annotation.size_hw != size:
            raise GroupCamError(
                f"The picture must have the size that its annotation gives, {annotation.size_hw}; "
                f"it has {size}."
            )
    category = None
    if settings.explained == "top":
        class_index = int(logits.argmax())
        if needs_boxes and len(logits) == len(ImageNetInfo().label_names()):
            category = category_of(class_index)
    else:
        category, class_index = _labelled(subject, sample, annotation, logits)
    mask = None
    if needs_boxes and annotation is not None and category is not None:
        boxes = [box for name in _names_of(category) for box in annotation.boxes_of(name)]
        mask = box_mask(boxes, backbone.preprocessing, size, settings.view)
    return _Shown(
        inputs,
        torch.tensor([class_index], device=inputs.device),
        backbone.preprocessing.inner(size, settings.view),
        mask if mask is not None and mask.any() else None,
        {
            "target_layer": subject.target_layer,
            "class_index": class_index,
            "class_label": backbone.class_names[class_index],
            "probability": float(logits.softmax(0)[class_index]),
            "seen_box": list(backbone.preprocessing.box(size, settings.view)),
        },
    )


def _labelled(
    subject: Subject, sample: Sample, annotation: AnnotatedPicture | None, logits: Tensor
) -> tuple[str | None, int]:
    """Return the COCO category, if any, and the class that the data set gives a picture.

    Of several objects the category counts that covers the largest area, and of its classes the
    one that the network finds most probable.

    Raises:
        GroupCamError: the network has no such class.
    """
    if sample.wordnet_id is not None:
        if sample.wordnet_id not in subject.wordnet_ids:
            raise GroupCamError(
                f"The network must have a class for '{sample.wordnet_id}'; {subject.backbone.name} "
                "has none."
            )
        return None, subject.wordnet_ids[sample.wordnet_id]
    areas: dict[str, float] = {}
    for box in () if annotation is None else annotation.boxes:
        category = VOC_TO_COCO.get(box.category, box.category)
        if imagenet_classes().get(category) and not box.is_uncertain:
            area = (box.right - box.left) * (box.bottom - box.top)
            areas[category] = areas.get(category, 0) + area
    if not areas:
        raise GroupCamError(
            "A picture must have an object that is an ImageNet class to have a label; this one "
            "has none."
        )
    category = max(areas, key=areas.__getitem__)
    class_index = likeliest_class(logits, category)
    assert class_index is not None  # the category has classes
    return category, class_index


def _names_of(category: str) -> Sequence[str]:
    """Return what COCO and VOC call a category."""
    return [category, *(voc for voc, coco in VOC_TO_COCO.items() if coco == category != voc)]


def _evaluate_method(
    subject: Subject, sample: Sample, shown: _Shown, variant: Variant
) -> dict[str, Any]:
    """Return the numbers of one method, or why there are none."""
    settings = subject.settings
    try:
        started = time.perf_counter()
        maps = variant.maps(subject.backbone, shown.inputs, subject.target_layer, shown.class_index)
        case = MapCase(
            variant,
            subject.backbone,
            subject.target_layer,
            shown.inputs,
            shown.class_index,
            maps,
            time.perf_counter() - started,
            settings.curve_protocol((shown.inputs.shape[-2], shown.inputs.shape[-1])),
            shown.box_mask,
            lambda: subject.forgetful,
            lambda: None if subject.mosaics is None else subject.mosaics.of(sample.name),
        )
        values = measure(case, settings.metrics)
        for name, value in values.items():
            if value is not None and not math.isfinite(value):
                raise GroupCamError(f"{name} must be finite; got {value}.")
    except Exception as error:
        return {"error": _reason(error, variant.name)}
    return {"values": values, "map": _thumbnail(maps.saliency_map[0], shown.inner)}


def _thumbnail(saliency_map: Tensor, inner: tuple[int, int, int, int]) -> str:
    """Return the part of a map, (H, W), that lies on the picture, small, as text."""
    part = inner_part(saliency_map, inner)[None, None]
    small = F.interpolate(part, size=(THUMBNAIL_PX, THUMBNAIL_PX), mode="area")[0, 0]
    values = (small * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return base64.b64encode(values.tobytes()).decode()


def _reason(error: Exception, what: str) -> str:
    """Return why something failed in one line; what nobody foresaw is logged in full."""
    text = " ".join(str(error).split())[:LONGEST_REASON]
    if isinstance(error, GroupCamError):
        return text
    logger.error("%s failed", what, exc_info=error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
