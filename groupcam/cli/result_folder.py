"""One explanation as a folder of files: complete, or not there at all."""

import csv
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from groupcam.errors import GroupCamError
from groupcam.images import downscale
from groupcam.metrics import Curves
from groupcam.models.preprocessing import inner_part
from groupcam.render.figures import curves_figure, masks_sheet, save_png
from groupcam.render.heatmap import overlay
from groupcam.saliency import Explanation

OVERLAY = "overlay.png"
SALIENCY_MAP = "saliency_map.npy"
MASKS = "masks.png"
CURVES = "curves.png"
CURVES_TABLE = "curves.csv"
MANIFEST = "result.json"  # written last: where it is, the other files are whole
FILES = (OVERLAY, SALIENCY_MAP, MASKS, CURVES, CURVES_TABLE, MANIFEST)

# Twice a tile of the masks sheet: sharp in print, and a 50-megapixel picture costs no more.
_MASKED_PICTURE_SIDE_PX = 400


class Seen(NamedTuple):
    """What the network saw of a picture, and where: both (top, left, bottom, right)."""

    box: tuple[int, int, int, int]  # in pixels of the picture
    inner: tuple[int, int, int, int]  # in pixels of the input, without border


@contextmanager
def result_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write into, whose files then replace the ones in `folder`.

    Only files named in FILES are moved, replaced or removed, so other files in `folder` are safe.
    When the block raises, `folder` is as it was before.

    Args:
        folder: where the result shall be; made with its parents if it is not there.

    Raises:
        GroupCamError: `folder` is a file, or cannot be written.
    """
    made: list[Path] = []
    is_complete = False
    try:
        with _disk_errors(folder):
            made += [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            # Inside `folder`, so that the files are moved within one file system.
            staging = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
        try:
            yield staging
            with _disk_errors(folder):
                _move_files(staging, folder)
            is_complete = True
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        if not is_complete:
            _remove_empty(made)


def write_maps(
    folder: Path,
    rgb: npt.NDArray[np.uint8],
    seen: Seen,
    explanation: Explanation,
    *,
    color_map: str,
    opacity: float,
) -> None:
    """Write the saliency map, its overlay on the picture and the sheet of group masks.

    Args:
        folder: see `result_folder`.
        rgb: the picture, uint8 (H, W, 3).
        seen: what the network saw of it.
        explanation: its map is saved as float32 at the size of the network's input.
        color_map: see `groupcam.render.heatmap.overlay`.
        opacity: see `groupcam.render.heatmap.overlay`.
    """
    saliency_map = explanation.saliency_map.numpy()
    on_picture = inner_part(saliency_map, seen.inner)
    drawn = overlay(rgb, on_picture, color_map=color_map, opacity=opacity, box=seen.box)
    top, left, bottom, right = seen.box
    picture = downscale(rgb[top:bottom, left:right], _MASKED_PICTURE_SIDE_PX)
    masks = inner_part(explanation.group_masks.numpy(), seen.inner)
    sheet = masks_sheet(picture, masks, explanation.group_weights.numpy())
    with _disk_errors(folder):
        np.save(folder / SALIENCY_MAP, saliency_map)
        Image.fromarray(drawn).save(folder / OVERLAY)
        save_png(sheet, folder / MASKS)


def write_curves(folder: Path, curves: Curves, class_label: str) -> None:
    """Write the insertion and deletion curves as a figure and as a table."""
    points = (curves.fractions.tolist(), curves.insertion.tolist(), curves.deletion.tolist())
    figure = curves_figure(
        *points, curves.insertion_auc, curves.deletion_auc, class_label=class_label
    )
    with _disk_errors(folder):
        save_png(figure, folder / CURVES)
        with (folder / CURVES_TABLE).open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["fraction", "insertion", "deletion"])
            table.writerows(zip(*points, strict=True))


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Write the settings and numbers of a result; every number in them must be finite."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with _disk_errors(folder):
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _move_files(staging: Path, folder: Path) -> None:
    """Put the new files in the place of the old ones; the manifest goes first and comes last."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in FILES:
        if (staging / name).exists():
            (staging / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)  # left from a run that had curves


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, innermost first, that hold nothing."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return  # never made, or someone else's files are in it by now


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn a failing write into one sentence."""
    try:
        yield
    except OSError as error:
        name = Path(error.filename).name if isinstance(error.filename, str) else ""
        reason = f"{name}: {error.strerror}" if name in FILES else error.strerror or error
        raise GroupCamError(
            f"The result folder must be a folder that can be written; got '{folder}' ({reason}). "
            "Choose another folder."
        ) from error
