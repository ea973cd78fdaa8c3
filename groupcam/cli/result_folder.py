"""One explanation as a folder of files: complete, or not there at all."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from groupcam.errors import GroupCamError
from groupcam.share import files

# Not the archive's name for it: scripts read this one from folders.
MANIFEST = "result.json"  # written last: where it is, the other files are whole
FILES = (
    files.OVERLAY,
    files.SALIENCY_MAP,
    files.MASKS,
    files.CURVES,
    files.CURVES_DRAWING,
    files.CURVES_TABLE,
    files.REPORT,
    MANIFEST,
)


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


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into the folder that `result_folder` gave.

    Args:
        folder: see `result_folder`.
        contents: by name, each one of FILES.
    """
    with _disk_errors(folder):
        for name, content in contents.items():
            (folder / name).write_bytes(content)


def check_archive_path(path: Path) -> None:
    """Refuse an archive that could not be written anyway.

    Raises:
        GroupCamError: it is a folder, or its own folder is not there.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise GroupCamError(
            f"The archive must be a file in a folder that exists; got '{path}'. "
            "Make its folder, or choose another place."
        )


def write_archive(path: Path, content: bytes) -> None:
    """Write one file, which is then whole or, after an error, as it was before.

    Raises:
        GroupCamError: it cannot be written.
    """
    staging = path.with_name(f".unfinished-{path.name}")
    try:
        staging.write_bytes(content)
        staging.replace(path)
    except OSError as error:
        raise GroupCamError(
            f"The archive must be a file that can be written; got '{path}' "
            f"({error.strerror or error}). Choose another place."
        ) from error
    finally:
        staging.unlink(missing_ok=True)


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
