"""Mosaics of a data set: who lies beside whom, and what a method gets for its tile."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from groupcam.evaluate.data_sets import Sample
from groupcam.evaluate.mosaics import Mosaics
from groupcam.evaluate.one_picture import Subject, evaluate_picture
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.models import Backbone
from tests.support import as_backbone

LEVELS = (10, 60, 110, 160, 210)  # the grey of each class


class GreyOf(nn.Module):
    """The class is the level that the mean grey is nearest to; half-way it is not sure."""

    def __init__(self, side: int | None = None) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.look.weight, 1 / 3)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        if self.side is not None and x.shape[-1] != self.side:
            raise ValueError("another size")
        grey: Tensor = (self.look(x).mean(dim=(1, 2, 3)) + 1) * 127.5
        distance = (grey[:, None] - torch.tensor(LEVELS)).abs()
        return -distance


def network(side: int | None = None) -> Backbone:
    return as_backbone(GreyOf(side), classes=len(LEVELS))


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    """Two pictures a class, one that is half-way between two, and one that is damaged."""
    found = []
    for number, grey in enumerate((*LEVELS, *LEVELS, 85)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(np.full((32, 32, 3), grey, np.uint8)).save(path)
        found.append(Sample(path.name, path))
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    return (*found, Sample("damaged.png", tmp_path / "damaged.png"))


def mosaics_of(samples: tuple[Sample, ...], backbone: Backbone) -> Mosaics:
    return Mosaics(backbone, samples, {}, "crop")


def test_a_mosaic_has_four_classes_and_the_picture_lies_in_its_tile(
    samples: tuple[Sample, ...],
) -> None:
    mosaics = mosaics_of(samples, network())

    found = {sample.name: mosaics.of(sample.name) for sample in samples}

    there = {name: mosaic for name, mosaic in found.items() if mosaic is not None}
    assert len(there) == 8  # two mosaics; the fifth class is left over twice
    for name, mosaic in there.items():
        assert len(mosaic.class_index.unique()) == 4
        own = int(name.removesuffix(".png")) % len(LEVELS)
        assert int(mosaic.class_index[mosaic.tile]) == own
        grey = (mosaic.tiles[mosaic.tile].mean() + 1) * 127.5
        assert float(grey) == pytest.approx(LEVELS[own], abs=1)
    assert found["10.png"] is None  # not sure
    assert found["damaged.png"] is None


def test_the_mosaics_are_the_same_for_every_worker(samples: tuple[Sample, ...]) -> None:
    backbone = network()
    first, second = (mosaics_of(samples, backbone) for _ in range(2))

    for sample in reversed(samples):
        one, other = first.of(sample.name), second.of(sample.name)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.equal(one.tiles, other.tiles)
            assert one.tile == other.tile


def test_pictures_with_a_label_must_be_classified_right(samples: tuple[Sample, ...]) -> None:
    backbone = network()
    labelled = tuple(Sample(one.name, one.path, "n00000001") for one in samples)

    right = Mosaics(backbone, labelled, {"n00000001": 0}, "crop")

    assert all(right.of(sample.name) is None for sample in labelled)  # one class is too few


@pytest.mark.parametrize(("side", "expected"), [(None, "full"), (32, "shrunk")])
def test_tiles_shrink_where_the_network_takes_one_size_only(
    samples: tuple[Sample, ...], side: int | None, expected: str
) -> None:
    mosaics = mosaics_of(samples, network(side))

    found = [mosaics.of(sample.name) for sample in samples[:5]]

    assert {mosaic.tile_size for mosaic in found if mosaic is not None} == {expected}


def test_a_map_of_the_centre_gets_a_quarter_and_others_nothing(
    samples: tuple[Sample, ...],
) -> None:
    settings = EvaluateSettings(methods=("centre",), metrics=("grid_pointing_game",))
    backbone = network()
    subject = Subject(backbone, "look", settings, mosaics_of(samples, backbone))

    values = [
        evaluate_picture(subject, sample)["methods"]["centre"]["values"]["grid_pointing_game"]
        for sample in samples[:-1]
    ]

    there = [value for value in values if value is not None]
    assert len(there) == 8
    assert there == pytest.approx([0.25] * 8, abs=0.01)  # a centred map lies equally on all tiles
    alone = Subject(backbone, "look", settings)
    entry = evaluate_picture(alone, samples[0])
    assert entry["methods"]["centre"]["values"]["grid_pointing_game"] is None
