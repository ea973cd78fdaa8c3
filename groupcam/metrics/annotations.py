"""Boxes of objects from COCO and Pascal VOC annotation files, as plain data.

Files may come from strangers: their size is limited before they are read, XML with a document type
(the place where entities are declared) is refused, and every value is checked.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from groupcam.errors import GroupCamError

MAX_COCO_BYTES = 1024**3  # instances_train2017.json has 449 MB
MAX_VOC_BYTES = 1024**2  # VOC's largest file has 20 kB


@dataclass(frozen=True)
class ObjectBox:
    """One object. Edges are in pixels of the picture, from its top left corner."""

    category: str
    left: float
    top: float
    right: float
    bottom: float
    is_uncertain: bool  # COCO's "crowd", VOC's "difficult": usually left out


@dataclass(frozen=True)
class AnnotatedPicture:
    """One picture's size and objects."""

    file_name: str
    size_hw: tuple[int, int]
    boxes: tuple[ObjectBox, ...]

    def boxes_of(self, category: str) -> tuple[ObjectBox, ...]:
        """Return the boxes of a category that are not uncertain."""
        return tuple(box for box in self.boxes if box.category == category and not box.is_uncertain)


def read_coco(path: Path) -> tuple[AnnotatedPicture, ...]:
    """Return the pictures of a COCO "instances" file, in its order; some may have no boxes.

    Boxes are cut at the picture's edges, and those without any area are left out.

    Raises:
        GroupCamError: the file cannot be read, is too large or is no such file.
    """
    try:
        data = json.loads(_read(path, MAX_COCO_BYTES))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise GroupCamError(f"A COCO file must be JSON; {path.name} is not: {error}.") from error
    try:
        names = {int(one["id"]): str(one["name"]) for one in data["categories"]}
        boxes: dict[int, list[ObjectBox]] = {int(one["id"]): [] for one in data["images"]}
        sizes = {int(one["id"]): _coco_size(one) for one in data["images"]}
        for annotation in data["annotations"]:
            picture = int(annotation["image_id"])
            box = _coco_box(annotation, names[int(annotation["category_id"])], sizes[picture])
            if box is not None:
                boxes[picture].append(box)
        return tuple(
            AnnotatedPicture(
                str(one["file_name"]), sizes[int(one["id"])], tuple(boxes[int(one["id"])])
            )
            for one in data["images"]
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GroupCamError(
            f"{path.name} must be a COCO file of instances (images, categories and annotations "
            f"with a bbox); {type(error).__name__}: {error}. Give instances_*.json."
        ) from error


def read_voc(path: Path) -> AnnotatedPicture:
    """Return the picture of one Pascal VOC file.

    VOC counts pixels from 1 and both edges belong to the box: xmin 1 and xmax 2 are two pixels,
    from 0 to 2 here.

    Raises:
        GroupCamError: the file cannot be read, is too large, has a document type or is no such
            file.
    """
    data = _read(path, MAX_VOC_BYTES)
    parser = ElementTree.XMLParser(target=_WithoutDocumentType())
    try:
        root = ElementTree.fromstring(data, parser=parser)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        if isinstance(error, GroupCamError):
            raise
        raise GroupCamError(f"A VOC file must be XML; {path.name} is not: {error}.") from error
    try:
        size = _checked_size(_number(root, "size/height"), _number(root, "size/width"))
        boxes = []
        for one in root.iterfind("object"):
            box = _clipped(
                _text(one, "name"),
                (_number(one, "bndbox/xmin") - 1, _number(one, "bndbox/ymin") - 1),
                (_number(one, "bndbox/xmax"), _number(one, "bndbox/ymax")),
                size,
                is_uncertain=(one.findtext("difficult") or "0").strip() == "1",
            )
            if box is not None:
                boxes.append(box)
        return AnnotatedPicture(_text(root, "filename"), size, tuple(boxes))
    except (TypeError, ValueError, OverflowError) as error:
        raise GroupCamError(
            f"{path.name} must be a VOC annotation (filename, size, objects with a bndbox); "
            f"{error}. Give a file of the folder Annotations."
        ) from error


class _WithoutDocumentType(ElementTree.TreeBuilder):
    """Refuses a document type before anything that it declares can be used."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse; the parser calls this."""
        raise GroupCamError(
            f"A VOC file must have no document type; this one declares '{name[:40]}'. Remove it: "
            "the entities in it could fill the memory."
        )


def _read(path: Path, limit: int) -> bytes:
    """Return a file's bytes, at most `limit`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise GroupCamError(f"{path} must be a readable file; {error.strerror}.") from error
    if len(data) > limit:
        raise GroupCamError(
            f"{path.name} must have at most {limit // 1024**2} MB; it has more. Split it."
        )
    return data


def _coco_size(image: Mapping[str, Any]) -> tuple[int, int]:
    return _checked_size(float(image["height"]), float(image["width"]))


def _coco_box(
    annotation: Mapping[str, Any], category: str, size_hw: tuple[int, int]
) -> ObjectBox | None:
    left, top, width, height = (float(value) for value in annotation["bbox"])
    is_crowd = bool(annotation.get("iscrowd", 0))
    return _clipped(
        category, (left, top), (left + width, top + height), size_hw, is_uncertain=is_crowd
    )


def _clipped(
    category: str,
    left_top: tuple[float, float],
    right_bottom: tuple[float, float],
    size_hw: tuple[int, int],
    *,
    is_uncertain: bool,
) -> ObjectBox | None:
    """Return the part of a box inside the picture, or None where there is none."""
    if not all(math.isfinite(value) for value in (*left_top, *right_bottom)):
        raise ValueError("a box must have finite edges")
    height, width = size_hw
    left, top = max(left_top[0], 0.0), max(left_top[1], 0.0)
    right, bottom = min(right_bottom[0], float(width)), min(right_bottom[1], float(height))
    if left >= right or top >= bottom:
        return None
    return ObjectBox(category, left, top, right, bottom, is_uncertain)


def _checked_size(height: float, width: float) -> tuple[int, int]:
    if not (height >= 1 and width >= 1):
        raise ValueError(f"a picture must have a size of at least 1 x 1; got {height} x {width}")
    return int(height), int(width)


def _text(element: ElementTree.Element, path: str) -> str:
    text = element.findtext(path)
    if not text or not text.strip():
        raise ValueError(f"<{path}> must be given")
    return text.strip()


def _number(element: ElementTree.Element, path: str) -> float:
    return float(_text(element, path))
