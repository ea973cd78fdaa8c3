"""Which ImageNet classes are which COCO category, so that COCO's boxes can judge a classifier.

The mapping is the table coco_imagenet.csv beside this file, which says how it was made from
WordNet; 60 of the 80 categories have ImageNet classes, 302 of the 1,000 classes a category.
"""

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor

from groupcam.errors import GroupCamError, did_you_mean

TABLE = Path(__file__).with_name("coco_imagenet.csv")

# VOC's 20 categories are among COCO's 80, six of them by another name.
VOC_TO_COCO: Mapping[str, str] = MappingProxyType(
    {
        "aeroplane": "airplane",
        "bicycle": "bicycle",
        "bird": "bird",
        "boat": "boat",
        "bottle": "bottle",
        "bus": "bus",
        "car": "car",
        "cat": "cat",
        "chair": "chair",
        "cow": "cow",
        "diningtable": "dining table",
        "dog": "dog",
        "horse": "horse",
        "motorbike": "motorcycle",
        "person": "person",
        "pottedplant": "potted plant",
        "sheep": "sheep",
        "sofa": "couch",
        "train": "train",
        "tvmonitor": "tv",
    }
)


@dataclass(frozen=True)
class ImagenetClass:
    """One of the 1,000 classes, and why it belongs to its category."""

    class_index: int  # of the usual order of logits, that of the sorted WordNet ids
    wnid: str  # "n02123597"
    names: tuple[str, ...]  # ("Siamese cat", "domestic cat"): up to the category's synset
    synsets: tuple[str, ...]  # their WordNet ids


@functools.cache
def imagenet_classes() -> Mapping[str, tuple[ImagenetClass, ...]]:
    """Return the ImageNet classes of each of COCO's 80 categories, some of which have none."""
    order: list[str] = ImageNetInfo().label_names()
    index_of = {wnid: index for index, wnid in enumerate(order)}
    classes: dict[str, list[ImagenetClass]] = {}
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            of_category = classes.setdefault(row["category"], [])
            if row["wnid"]:
                names, synsets = tuple(row["names"].split(" > ")), tuple(row["synsets"].split())
                of_category.append(
                    ImagenetClass(index_of[row["wnid"]], row["wnid"], names, synsets)
                )
    return MappingProxyType({category: tuple(found) for category, found in classes.items()})


def category_of(class_index: int) -> str | None:
    """Return the COCO category of an ImageNet class, or None where it has none."""
    return _categories().get(class_index)


def likeliest_class(scores: Tensor, category: str) -> int | None:
    """Return the category's ImageNet class with the highest score, or None where it has none.

    Args:
        scores: probabilities or logits of the 1,000 classes, (1000,).
        category: one of COCO's; see `VOC_TO_COCO` for VOC's.

    Raises:
        GroupCamError: there is no such category, or there are not 1,000 scores.
    """
    classes = imagenet_classes()
    if category not in classes:
        raise GroupCamError(
            f"category must be one of COCO's {len(classes)}; got {category!r}."
            f"{did_you_mean(category, classes)}"
        )
    if scores.shape != (1000,):
        raise GroupCamError(
            "scores must be those of ImageNet's 1,000 classes, (1000,); got "
            f"{tuple(scores.shape)}. Choose weights that were trained on ImageNet-1k."
        )
    indices = [one.class_index for one in classes[category]]
    return max(indices, key=lambda index: float(scores[index])) if indices else None


@functools.cache
def _categories() -> Mapping[int, str]:
    """Return the category of every class that has one."""
    return {
        one.class_index: category for category, found in imagenet_classes().items() for one in found
    }
