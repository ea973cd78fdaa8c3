"""Pictures in folders named by their classes, and how training comes to see them.

Every random number follows from the seed and the picture's place in the training alone, so that
nothing changes with the number of processes, or after a kill.
"""

import csv
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from torchvision.transforms import v2

from groupcam.augment import NUMBERS
from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import SUFFIXES
from groupcam.images import open_picture
from groupcam.models import Preprocessing

KINDS_TABLE = Path(__file__).with_name("imagenet_kinds.csv")
TRAINING_FOLDER, VALIDATION_FOLDER = "train", "val"


@dataclass(frozen=True)
class Labelled:
    """One picture and its class."""

    name: str  # path inside the folder, with slashes
    path: Path
    label: int  # place of its class


@dataclass(frozen=True)
class ClassFolders:
    """Pictures to train on and others to evaluate on."""

    classes: tuple[str, ...]  # names of the folders, sorted
    training: tuple[Labelled, ...]
    validation: tuple[Labelled, ...]

    @property
    def fingerprint(self) -> str:
        """Return a checksum of the pictures' names and of what each is for."""
        lines = [one.name for one in (*self.training, *self.validation)]
        return hashlib.sha256("\n".join([str(len(self.training)), *lines]).encode()).hexdigest()


def open_class_folders(
    folder: Path, held_out: float, split: int, *, kinds: bool = False
) -> ClassFolders:
    """Return the pictures of DATA/train/CLASS/* and DATA/val/CLASS/*, or those of DATA/CLASS/*.

    Args:
        folder: DATA.
        held_out: part of each class that becomes validation where there is no val folder; at least
            one picture stays on either side.
        split: which part that is.
        kinds: whether the classes are kinds of things (dog, vehicle, ...), of which the folders,
            named by WordNet ids, are members; folders of no kind are left out.

    Raises:
        GroupCamError: there are no two classes, a class has too few pictures, or the classes to
            train on and to evaluate on differ.
    """
    if (folder / TRAINING_FOLDER).is_dir() and (folder / VALIDATION_FOLDER).is_dir():
        training = _by_class(folder, folder / TRAINING_FOLDER, kinds)
        validation = _by_class(folder, folder / VALIDATION_FOLDER, kinds)
    else:
        training, validation = {}, {}
        for name, files in _by_class(folder, folder, kinds).items():
            if len(files) < 2:
                raise GroupCamError(
                    "Each class must have two pictures, one to train on and one to evaluate on; "
                    f"'{name}' has {len(files)}."
                )
            drawn = sorted(files, key=lambda file: seed_of(split, file[0]))
            count = min(max(1, round(held_out * len(files))), len(files) - 1)
            validation[name], training[name] = sorted(drawn[:count]), sorted(drawn[count:])
    if set(training) != set(validation) or len(training) < 2:
        raise GroupCamError(
            "DATA must hold at least two folders named by their classes, the same in train and "
            f"val where it has these; '{folder}' has {len(training)} to train on and "
            f"{len(validation)} to evaluate on."
        )
    classes = tuple(sorted(training))
    return ClassFolders(classes, *(_labelled(part, classes) for part in (training, validation)))


def seed_of(*parts: object) -> int:
    """Return a seed that follows from the parts, in 0..2^63-1."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


class TrainingPictures(Dataset[tuple[Tensor, int, Tensor]]):
    """What training sees at each place t: input (3, H, W), class, and the augmentation's numbers.

    Places 0..n-1 are the first epoch, every picture once in random order, and so on without end.
    A picture is cropped and mirrored at random.
    """

    def __init__(
        self, pictures: tuple[Labelled, ...], view: Preprocessing, smallest_crop: float, seed: int
    ) -> None:
        self._pictures = pictures
        self._seed = seed
        size = list(view.input_size)
        interpolation = v2.InterpolationMode[view.interpolation.upper()]
        self._transform = v2.Compose(
            [
                v2.ToImage(),
                v2.RandomResizedCrop(size, (smallest_crop, 1.0), interpolation=interpolation),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(view.mean), list(view.std)),
                v2.ToPureTensor(),
            ]
        )

    def __getitem__(self, place: int) -> tuple[Tensor, int, Tensor]:
        """Return what training sees at a place."""
        epoch, position = divmod(place, len(self._pictures))
        picture = self._pictures[_order(len(self._pictures), seed_of(self._seed, epoch))[position]]
        rgb = _rgb_of(picture)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(self._seed, "picture", place))
            image: Tensor = self._transform(rgb)
            numbers = torch.rand(NUMBERS)
        return image, picture.label, numbers


class ValidationPictures(Dataset[tuple[Tensor, int]]):
    """The network's own view of each picture, (3, H, W), and its class."""

    def __init__(self, pictures: tuple[Labelled, ...], view: Preprocessing) -> None:
        self._pictures = pictures
        self._view = view

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a picture and its class."""
        picture = self._pictures[index]
        return self._view(_rgb_of(picture)), picture.label


class Places(Sampler[list[int]]):
    """Batches of places without end, of which this process has every `count`-th place."""

    def __init__(self, first_step: int, batch_size: int, rank: int, count: int) -> None:
        self._first = first_step * batch_size
        self._batch_size = batch_size
        self._rank, self._count = rank, count

    def __iter__(self) -> Iterator[list[int]]:
        start = self._first
        while True:
            yield list(range(start + self._rank, start + self._batch_size, self._count))
            start += self._batch_size


@functools.lru_cache(maxsize=2)
def _order(length: int, seed: int) -> list[int]:
    order: list[int] = torch.randperm(
        length, generator=torch.Generator().manual_seed(seed)
    ).tolist()
    return order


def _rgb_of(picture: Labelled) -> npt.NDArray[np.uint8]:
    """Return the picture, or an error that names it."""
    try:
        return open_picture(picture.path).rgb
    except GroupCamError as error:
        raise GroupCamError(f"{picture.name}: {error} Take it out of the folder.") from error


def _by_class(folder: Path, inside: Path, kinds: bool) -> dict[str, list[tuple[str, Path]]]:
    """Return (name, path) of the pictures of each class; folders without any are none."""
    if not inside.is_dir():
        raise GroupCamError(f"DATA must be a folder of pictures; there is none at '{inside}'.")
    found: dict[str, list[tuple[str, Path]]] = {}
    for home in sorted(path for path in inside.iterdir() if path.is_dir()):
        name = imagenet_kinds().get(home.name) if kinds else home.name
        files = sorted(
            (file.relative_to(folder).as_posix(), file)
            for file in home.rglob("*")
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if files and name is not None:
            found.setdefault(name, []).extend(files)
    return found


@functools.cache
def imagenet_kinds() -> dict[str, str]:
    """Return the kind of thing of an ImageNet class by its WordNet id, for those that have one."""
    with KINDS_TABLE.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {row["id"]: row["kind"] for row in rows}


def _labelled(
    part: dict[str, list[tuple[str, Path]]], classes: tuple[str, ...]
) -> tuple[Labelled, ...]:
    return tuple(
        Labelled(name, path, label)
        for label, of_class in enumerate(classes)
        for name, path in part[of_class]
    )
