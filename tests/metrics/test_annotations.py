import json
from pathlib import Path
from typing import Any

import pytest

from groupcam.errors import GroupCamError
from groupcam.metrics import annotations
from groupcam.metrics.annotations import ObjectBox, read_coco, read_voc


def coco(**changes: Any) -> dict[str, Any]:
    """Return a COCO file's contents with two pictures, one of which has no box."""
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 100, "height": 50},
            {"id": 3, "file_name": "b.jpg", "width": 10, "height": 20},
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 17, "bbox": [10, 5, 30, 20.5], "iscrowd": 0},
            {"image_id": 7, "category_id": 17, "bbox": [0, 0, 99, 9], "iscrowd": 1},
            {"image_id": 7, "category_id": 18, "bbox": [90, 40, 30, 30], "iscrowd": 0},
        ],
        **changes,
    }


def written(tmp_path: Path, contents: Any) -> Path:
    path = tmp_path / "instances.json"
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return path


VOC = """<annotation>
  <filename>2007_000032.jpg</filename>
  <size><width>500</width><height>281</height><depth>3</depth></size>
  <object><name>aeroplane</name><difficult>0</difficult>
    <bndbox><xmin>104</xmin><ymin>78</ymin><xmax>375</xmax><ymax>183</ymax></bndbox></object>
  <object><name>person</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>600</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>
    </bndbox></part></object>
</annotation>"""


def test_coco_boxes_are_read_and_cut_at_the_edges(tmp_path: Path) -> None:
    first, second = read_coco(written(tmp_path, coco()))

    assert (first.file_name, first.size_hw) == ("a.jpg", (50, 100))
    assert first.boxes == (
        ObjectBox("cat", 10.0, 5.0, 40.0, 25.5, is_uncertain=False),
        ObjectBox("cat", 0.0, 0.0, 99.0, 9.0, is_uncertain=True),
        ObjectBox("dog", 90.0, 40.0, 100.0, 50.0, is_uncertain=False),
    )
    assert first.boxes_of("cat") == first.boxes[:1]
    assert first.boxes_of("bird") == ()
    assert (second.file_name, second.boxes) == ("b.jpg", ())


def test_boxes_without_area_are_left_out(tmp_path: Path) -> None:
    boxes = [[5, 5, 0, 4], [200, 5, 3, 3], [-9, 0, 9, 9], [1, 1, 2, 2]]
    rows = [{"image_id": 7, "category_id": 17, "bbox": box} for box in boxes]

    picture = read_coco(written(tmp_path, coco(annotations=rows)))[0]

    assert picture.boxes == (ObjectBox("cat", 1.0, 1.0, 3.0, 3.0, is_uncertain=False),)


@pytest.mark.parametrize(
    "contents",
    [
        "{",
        "[" * 100_000,
        "[]",
        {"images": []},
        coco(annotations=[{"image_id": 8, "category_id": 17, "bbox": [1, 1, 1, 1]}]),
        coco(annotations=[{"image_id": 7, "category_id": 99, "bbox": [1, 1, 1, 1]}]),
        coco(annotations=[{"image_id": 7, "category_id": 17, "bbox": [1, 1, 1]}]),
        coco(annotations=[{"image_id": 7, "category_id": 17, "bbox": [1, 1, float("nan"), 1]}]),
        coco(images=[{"id": 7, "file_name": "a.jpg", "width": 0, "height": 5}]),
        coco(images=[{"id": 7, "file_name": "a.jpg", "width": float("inf"), "height": 5}]),
    ],
    ids=[
        "broken", "deep", "list", "no-boxes", "no-picture", "no-category", "three-edges", "nan",
        "no-size", "endless",
    ],
)  # fmt: skip
def test_other_files_are_no_coco_files(tmp_path: Path, contents: Any) -> None:
    with pytest.raises(GroupCamError, match="COCO file"):
        read_coco(written(tmp_path, contents))


def test_voc_boxes_count_from_zero_and_hold_both_edges(tmp_path: Path) -> None:
    path = tmp_path / "2007_000032.xml"
    path.write_text(VOC)

    picture = read_voc(path)

    assert (picture.file_name, picture.size_hw) == ("2007_000032.jpg", (281, 500))
    assert picture.boxes == (
        ObjectBox("aeroplane", 103.0, 77.0, 375.0, 183.0, is_uncertain=False),
        ObjectBox("person", 0.0, 0.0, 2.0, 281.0, is_uncertain=True),
    )


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))


@pytest.mark.parametrize(
    "declared",
    [
        f'<!DOCTYPE annotation [<!ENTITY a0 "laughs">{BOMB}]>',
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
    ids=["expansion", "remote", "file"],
)
def test_a_document_type_is_refused_before_its_entities_are_used(
    tmp_path: Path, declared: str
) -> None:
    path = tmp_path / "a.xml"
    path.write_text(declared + VOC.replace("aeroplane", "&a8;&x;"))

    with pytest.raises(GroupCamError, match="no document type; this one declares 'annotation'"):
        read_voc(path)


@pytest.mark.parametrize(
    "contents",
    [
        "<annotation>",
        "no xml",
        "<annotation/>",
        VOC.replace("<xmin>104</xmin>", ""),
        VOC.replace("104", "nan"),
        VOC.replace("104", "many"),
        VOC.replace("<width>500", "<width>0"),
        VOC.replace("<filename>2007_000032.jpg</filename>", ""),
        VOC.replace("aeroplane", "&later;"),
    ],
    ids=[
        "open", "text", "empty", "no-edge", "nan", "word", "no-size", "no-name", "entity"
    ],
)  # fmt: skip
def test_other_files_are_no_voc_files(tmp_path: Path, contents: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(contents)

    with pytest.raises(GroupCamError, match="VOC"):
        read_voc(path)


def test_large_and_missing_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.xml"
    path.write_text(VOC + " " * 1024**2)

    with pytest.raises(GroupCamError, match="at most 1 MB"):
        read_voc(path)
    with pytest.raises(GroupCamError, match="must be a readable file"):
        read_voc(tmp_path / "b.xml")
    monkeypatch.setattr(annotations, "MAX_COCO_BYTES", 100)
    with pytest.raises(GroupCamError, match="it has more"):
        read_coco(written(tmp_path, coco()))
