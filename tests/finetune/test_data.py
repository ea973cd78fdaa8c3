"""Which pictures are trained on, and what training sees of them."""

import shutil
from pathlib import Path

import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.finetune.data import Places, TrainingPictures, imagenet_kinds, open_class_folders
from groupcam.models import Preprocessing
from tests.finetune.support import opened

VIEW = Preprocessing((32, 32))


def test_a_part_of_each_class_is_held_out_and_the_split_says_which(folder: Path) -> None:
    first, again, other = (open_class_folders(folder, 0.25, split) for split in (0, 0, 1))

    assert first == again
    assert first.validation != other.validation
    for data in (first, other):
        assert [one.label for one in data.validation] == [0, 0, 1, 1, 2, 2]
        names = [one.name for one in (*data.training, *data.validation)]
        assert len(names) == len(set(names)) == 24
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_folders_train_and_val_are_taken_as_they_are(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "train")
    shutil.copytree(folder / "kind 0", tmp_path / "val" / "kind 0")
    with pytest.raises(GroupCamError, match="3 to train on and 1 to evaluate on"):
        open_class_folders(tmp_path, 0.25, 0)
    for name in ("kind 1", "kind 2"):
        shutil.copytree(folder / name, tmp_path / "val" / name)

    data = open_class_folders(tmp_path, 0.25, 0)

    assert len(data.training) == len(data.validation) == 24
    assert data.classes == ("kind 0", "kind 1", "kind 2")
    assert data.training[0].name == "train/kind 0/0.png"


def test_folders_of_wordnet_ids_become_kinds(folder: Path, tmp_path: Path) -> None:
    # Two dogs, a bird, and a volcano, which is of no kind.
    for place, name in enumerate(("n02085620", "n02099712", "n01530575", "n09472597")):
        shutil.copytree(folder / f"kind {place % 3}", tmp_path / name)

    data = open_class_folders(tmp_path, 0.25, 0, kinds=True)

    assert data.classes == ("bird", "dog")
    assert [one.label for one in data.validation] == [0] * 2 + [1] * 4
    assert len(set(imagenet_kinds().values())) == 15


def test_what_cannot_be_trained_on_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GroupCamError, match="there is none at"):
        open_class_folders(tmp_path / "none", 0.25, 0)
    shutil.copytree(folder / "kind 0", tmp_path / "kind 0")
    with pytest.raises(GroupCamError, match="at least two folders"):
        open_class_folders(tmp_path, 0.25, 0)
    (tmp_path / "lonely").mkdir()
    shutil.copy(folder / "kind 0" / "0.png", tmp_path / "lonely")
    with pytest.raises(GroupCamError, match="'lonely' has 1"):
        open_class_folders(tmp_path, 0.25, 0)


def test_an_epoch_is_every_picture_once_and_the_next_another_order(folder: Path) -> None:
    data = opened(folder)
    pictures = TrainingPictures(data.training, VIEW, 1.0, seed=0)

    labels = [pictures[place][1] for place in range(36)]

    assert sorted(labels[:18]) == sorted(labels[18:]) == [0] * 6 + [1] * 6 + [2] * 6
    assert labels[:18] != labels[18:]


def test_a_place_always_shows_the_same_and_draws_from_nobody(folder: Path) -> None:
    data = opened(folder)
    state = torch.get_rng_state()

    first, second = (TrainingPictures(data.training, VIEW, 0.25, seed=3) for _ in range(2))
    one, _, numbers = first[7]
    _ = second[2]
    again, _, numbers_again = second[7]
    other, _, _ = TrainingPictures(data.training, VIEW, 0.25, seed=4)[7]

    assert one.shape == (3, 32, 32)
    assert torch.equal(one, again)
    assert torch.equal(numbers, numbers_again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_processes_share_the_places_of_a_step() -> None:
    parts = [iter(Places(2, 6, rank, 3)) for rank in range(3)]

    steps = [[next(part) for part in parts] for _ in range(2)]

    assert steps[0] == [[12, 15], [13, 16], [14, 17]]
    assert sorted(place for part in steps[1] for place in part) == list(range(18, 24))


def test_a_damaged_picture_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "classes")
    for path in (tmp_path / "classes").rglob("*.png"):
        path.write_bytes(b"no picture")
    data = opened(tmp_path / "classes")

    with pytest.raises(GroupCamError, match=r"kind \d/\d\.png: .*Take it out"):
        TrainingPictures(data.training, VIEW, 1.0, seed=0)[0]
