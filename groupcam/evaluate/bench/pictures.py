"""The pictures of the bench."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.evaluate.backbone_check import made_up_picture
from groupcam.images import open_picture
from groupcam.models import Backbone

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def made_up_inputs(backbone: Backbone) -> Tensor:
    """Return a picture that needs no file as the network's input, (1, 3, H, W)."""
    return backbone.preprocess(made_up_picture())


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder and the folders in it, by name.

    Raises:
        GroupCamError: there are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise GroupCamError(
            f"The folder must hold pictures ({', '.join(PICTURE_SUFFIXES)}); got '{folder}'."
        )
    return files


def read_inputs(backbone: Backbone, files: Sequence[Path]) -> list[Tensor]:
    """Return pictures as the network's inputs, (1, 3, H, W) each; a made-up one without files."""
    if not files:
        return [made_up_inputs(backbone)]
    return [backbone.preprocess(open_picture(file).rgb) for file in files]
