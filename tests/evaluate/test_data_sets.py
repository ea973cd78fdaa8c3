"""All kinds of folders, and the class and boxes that each gives a picture."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import DataSet, Sample, open_data_set
from groupcam.evaluate.one_picture import Subject, evaluate_picture
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.metrics.coco_imagenet import category_of
from groupcam.models import Backbone
from tests.evaluate.support import write_picture
from tests.support import TinyCnn, as_backbone

SIAMESE_CAT = "n02123597"  # class 284 of 1,000
TENCH = "n01440764"  # class 0
HEIGHT, WIDTH = 40, 48
BOX = (8, 4, 24, 36)  # left, top, right, bottom: half of the width, most of the height


def settings(**changes: Any) -> EvaluateSettings:
    return EvaluateSettings(**{"methods": ("centre",), "metrics": ("average_drop",), **changes})


def imagenet_network(top: int | None = None) -> Backbone:
    """Return a network with 1,000 classes, of which `top` always wins."""
    network = TinyCnn(1000)
    if top is not None:
        network.head.bias.data[top] = 100
    return as_backbone(network, classes=1000)


def entry_of(backbone: Backbone, sample: Sample, **changes: Any) -> dict[str, Any]:
    return evaluate_picture(Subject(backbone, "features.3", settings(**changes)), sample)


def coco_folder(folder: Path, **changes: Any) -> Path:
    """Make a folder with one picture that shows a cat, and one that is not there."""
    write_picture(folder / "images" / "1.png", seed=1, size=(HEIGHT, WIDTH))
    left, top, right, bottom = BOX
    content = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH}
            for number in (1, 2)
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 1, "name": "giraffe"}],
        "annotations": [
            # The largest object, yet no class of ImageNet.
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, WIDTH, HEIGHT]},
            {"image_id": 1, "category_id": 17, "bbox": [left, top, right - left, bottom - top]},
        ],
        **changes,
    }
    (folder / "instances.json").write_text(json.dumps(content), "utf-8")
    return folder


def voc_folder(folder: Path) -> Path:
    """Make the same picture as a VOC folder."""
    write_picture(folder / "JPEGImages" / "1.png", seed=1, size=(HEIGHT, WIDTH))
    (folder / "Annotations").mkdir()
    left, top, right, bottom = BOX
    (folder / "Annotations" / "1.xml").write_text(
        f"<annotation><filename>1.png</filename><size><width>{WIDTH}</width>"
        f"<height>{HEIGHT}</height><depth>3</depth></size><object><name>cat</name><bndbox>"
        f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object></annotation>",
        "utf-8",
    )
    return folder


# --- what a folder is --------------------------------------------------------------------------


def test_class_comes_from_the_wordnet_id_and_not_from_the_folders_place(tmp_path: Path) -> None:
    write_picture(tmp_path / "val" / SIAMESE_CAT / "a.png", seed=1)
    write_picture(tmp_path / "val" / TENCH / "b.png", seed=2)

    data = open_data_set(tmp_path)

    entries = [entry_of(imagenet_network(), one, explained="label") for one in data.samples]
    assert data.kind == "imagenet"
    assert [one.name for one in data.samples] == [f"val/{TENCH}/b.png", f"val/{SIAMESE_CAT}/a.png"]
    assert [entry["class_index"] for entry in entries] == [0, 284]


def test_network_without_the_labelled_class_says_so(tmp_path: Path) -> None:
    write_picture(tmp_path / SIAMESE_CAT / "a.png", seed=1)
    (sample,) = open_data_set(tmp_path).samples
    three_classes = as_backbone(TinyCnn())

    assert (
        "must have a class for 'n02123597'"
        in entry_of(three_classes, sample, explained="label")["error"]
    )
    assert "error" not in entry_of(three_classes, sample, explained="top")


def test_plain_folder_explains_the_top_class(tmp_path: Path) -> None:
    write_picture(tmp_path / "deep" / "er" / "a.png", seed=1)
    (tmp_path / "notes.txt").write_text("no picture")

    data = open_data_set(tmp_path)

    assert (data.kind, [one.name for one in data.samples]) == ("plain", ["deep/er/a.png"])
    assert entry_of(imagenet_network(top=7), data.samples[0])["class_index"] == 7


@pytest.mark.parametrize("make", [coco_folder, voc_folder], ids=["coco", "voc"])
def test_boxes_of_the_explained_class_judge_the_map(make: Any, tmp_path: Path) -> None:
    sample = open_data_set(make(tmp_path)).samples[0]
    metrics = ("energy_pointing_game", "pointing_game")

    cat = entry_of(imagenet_network(top=284), sample, metrics=metrics, view="whole")
    fish = entry_of(imagenet_network(top=0), sample, metrics=metrics, view="whole")

    values = cat["methods"]["centre"]["values"]
    left, top, right, bottom = BOX
    # The Gaussian around the centre, summed over the box, a quarter of each side wide.
    shares = [torch.exp(-8 * ((torch.arange(32) + 0.5) / 32 - 0.5) ** 2) for _ in range(2)]
    scale = 32 / WIDTH, 32 / HEIGHT
    centres = torch.arange(32) + 0.5
    inside = [
        (centres > scale[0] * left) & (centres < scale[0] * right),
        (centres > scale[1] * top) & (centres < scale[1] * bottom),
    ]
    # A map spans [0, 1], so its smallest value, that of the corners, is taken off first.
    gaussian = shares[1][:, None] * shares[0]
    gaussian = gaussian - gaussian.min()
    expected = gaussian[inside[1]][:, inside[0]].sum() / gaussian.sum()
    assert values["energy_pointing_game"] == pytest.approx(float(expected), abs=1e-5)
    assert values["pointing_game"] == 1
    # A fish is no category of COCO: the boxes say nothing about it.
    assert fish["methods"]["centre"]["values"] == dict.fromkeys(metrics)


@pytest.mark.parametrize("make", [coco_folder, voc_folder], ids=["coco", "voc"])
def test_label_is_the_largest_object_that_is_an_imagenet_class(make: Any, tmp_path: Path) -> None:
    sample = open_data_set(make(tmp_path)).samples[0]

    entry = entry_of(imagenet_network(top=0), sample, explained="label")

    assert category_of(entry["class_index"]) == "cat"


def test_picture_that_an_annotation_names_but_is_not_there_fails_by_name(tmp_path: Path) -> None:
    there, absent = open_data_set(coco_folder(tmp_path)).samples

    assert "error" not in entry_of(imagenet_network(), there)
    assert "no file '2.png'" in entry_of(imagenet_network(), absent)["error"]


# --- parts -------------------------------------------------------------------------------------


def test_halves_part_the_pictures_by_their_names_alone() -> None:
    names = [f"{number}.jpg" for number in range(200)]
    data = DataSet("plain", tuple(Sample(name, Path(name)) for name in names))

    first, second = (
        [one.name for one in data.part(half, None).samples] for half in ("first", "second")
    )

    fewer = DataSet("plain", data.samples[::3]).part("first", None)
    assert sorted(first + second) == sorted(names)
    assert 80 <= len(first) <= 120
    assert {one.name for one in fewer.samples} == set(first) & set(names[::3])


def test_limit_spreads_over_the_folder() -> None:
    data = DataSet("plain", tuple(Sample(str(n), Path(str(n))) for n in range(10)))

    assert [one.name for one in data.part("both", 4).samples] == ["0", "2", "5", "7"]
    assert data.part("both", 11) == data


# --- refusals ----------------------------------------------------------------------------------


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GroupCamError, match="must hold pictures"):
        open_data_set(tmp_path)
    with pytest.raises(GroupCamError, match="must be a folder"):
        open_data_set(tmp_path / "absent")


def test_two_annotation_files_need_a_choice(tmp_path: Path) -> None:
    coco_folder(tmp_path)
    (tmp_path / "instances_two.json").write_bytes((tmp_path / "instances.json").read_bytes())

    with pytest.raises(GroupCamError, match="Choose one with --annotations"):
        open_data_set(tmp_path)
    assert open_data_set(tmp_path, tmp_path / "instances_two.json").kind == "coco"


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png"])
def test_annotations_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": name, "height": HEIGHT, "width": WIDTH}]
    coco_folder(tmp_path, images=images, annotations=[])

    with pytest.raises(GroupCamError, match="inside the folder"):
        open_data_set(tmp_path)
