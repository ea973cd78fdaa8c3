"""Folders of pictures: which pictures, in which order, and what is known of each.

* "imagenet": folders named by WordNet id at any depth, val/n02123597/x.JPEG;
* "coco": an instances file (instances*.json, in the folder or in annotations/) and its pictures;
* "voc": Annotations/*.xml beside JPEGImages/;
* "plain": any other folder with pictures.
"""

import glob
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groupcam.errors import GroupCamError
from groupcam.metrics.annotations import AnnotatedPicture, read_coco, read_voc

Kind = Literal["imagenet", "coco", "voc", "plain"]
Half = Literal["both", "first", "second"]

# HEIC cannot be read, which its picture's row then says: none is left out silently.
SUFFIXES = frozenset(
    ".jpg .jpeg .png .webp .avif .gif .bmp .tif .tiff .heic .heif".split()  # noqa: SIM905
)
WORDNET_ID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Sample:
    """One picture of a data set."""

    name: str  # path inside the folder, with slashes: the same on every machine
    path: Path
    wordnet_id: str | None = None
    coco: AnnotatedPicture | None = None
    voc_file: Path | None = None

    def annotation(self) -> AnnotatedPicture | None:
        """Return the picture's boxes, or None where the data set has none.

        Raises:
            GroupCamError: the VOC file is damaged.
        """
        return self.coco if self.voc_file is None else read_voc(self.voc_file)


@dataclass(frozen=True)
class DataSet:
    """Pictures in a fixed order."""

    kind: Kind
    samples: tuple[Sample, ...]

    def part(self, half: Half, limit: int | None) -> "DataSet":
        """Return one half of the pictures, and of these `limit` spread evenly.

        A picture's half follows from its name alone, so it stays in it whatever else the folder
        holds.
        """
        chosen: Sequence[Sample] = self.samples
        if half != "both":
            wanted = 0 if half == "first" else 1
            chosen = [one for one in chosen if _hash(one.name)[0] % 2 == wanted]
        if limit is not None and limit < len(chosen):
            chosen = [chosen[place * len(chosen) // limit] for place in range(limit)]
        return DataSet(self.kind, tuple(chosen))

    @property
    def fingerprint(self) -> str:
        """Return a checksum of the pictures' names and order."""
        return _hash("\n".join(one.name for one in self.samples)).hex()


def open_data_set(folder: Path, annotations: Path | None = None) -> DataSet:
    """Return the pictures of a folder, whose kind is seen from its files.

    Args:
        folder: of one of the kinds above.
        annotations: a COCO file, where the folder has none or several.

    Raises:
        GroupCamError: there are no pictures, or it is not clear which annotations are meant.
    """
    if not folder.is_dir():
        raise GroupCamError(f"FOLDER must be a folder of pictures; there is none at '{folder}'.")
    coco_file = annotations or _coco_file(folder)
    voc_files = sorted(folder.glob("Annotations/*.xml"))
    kind: Kind
    if coco_file is not None:
        kind, samples = "coco", _coco_samples(folder, coco_file)
    elif voc_files and (folder / "JPEGImages").is_dir():
        kind, samples = "voc", [_voc_sample(folder, file) for file in voc_files]
    else:
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        samples = [
            Sample(_name(file, folder), file, wordnet_id=_wordnet_id(file, folder))
            for file in files
        ]
        kind = "imagenet" if any(one.wordnet_id for one in samples) else "plain"
    if not samples:
        raise GroupCamError(
            f"FOLDER must hold pictures ({', '.join(sorted(SUFFIXES))}), also in folders inside "
            f"it; '{folder}' has none."
        )
    return DataSet(kind, tuple(samples))


def _coco_file(folder: Path) -> Path | None:
    """Return the folder's COCO file if it has one.

    Raises:
        GroupCamError: it has several.
    """
    files = sorted([*folder.glob("instances*.json"), *folder.glob("annotations/instances*.json")])
    if len(files) > 1:
        names = ", ".join(_name(file, folder) for file in files)
        raise GroupCamError(
            f"There must be one file of COCO annotations; '{folder}' has {len(files)} ({names}). "
            "Choose one with --annotations."
        )
    return files[0] if files else None


def _coco_samples(folder: Path, file: Path) -> list[Sample]:
    """Return the pictures of a COCO file, also those that are not there.

    Raises:
        GroupCamError: a name leads out of the folder, or there are two of it.
    """
    split = file.stem.removeprefix("instances").removeprefix("_")  # val2017
    homes = [folder, folder / "images", folder / split, folder / "images" / split]
    samples: dict[str, Sample] = {}
    for one in read_coco(file):
        name = Path(one.file_name)
        if name.is_absolute() or ".." in name.parts or one.file_name in samples:
            raise GroupCamError(
                f"The file names in {file.name} must be different and inside the folder; got "
                f"'{one.file_name}'. Correct the file."
            )
        places = (home / name for home in homes)
        path = next((place for place in places if place.is_file()), folder / name)
        samples[one.file_name] = Sample(one.file_name, path, coco=one)
    return list(samples.values())


def _voc_sample(folder: Path, file: Path) -> Sample:
    """Return the picture of a VOC file; VOC names both alike."""
    homes = (folder / "JPEGImages").glob(f"{glob.escape(file.stem)}.*")
    pictures = sorted(path for path in homes if path.suffix.lower() in SUFFIXES)
    path = pictures[0] if pictures else folder / "JPEGImages" / f"{file.stem}.jpg"
    return Sample(_name(path, folder), path, voc_file=file)


def _wordnet_id(file: Path, folder: Path) -> str | None:
    """Return the innermost folder name that is a WordNet id."""
    names = (folder.resolve().name, *file.relative_to(folder).parts[:-1])
    return next((name for name in reversed(names) if WORDNET_ID.fullmatch(name)), None)


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
