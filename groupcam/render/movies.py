"""Frames as moving pictures: MP4 that browsers play, and GIF. Needs no program beside OpenCV.

OpenCV's own FFmpeg has no H.264 encoder, and browsers do not play its MPEG-4 ("mp4v"); VP9 in MP4
plays in Chrome, Edge and Firefox and in Safari from 14 on. OpenCV's GIFs are half as large again
as Pillow's with one palette for all frames, whose colours do not flicker either.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from groupcam.errors import GroupCamError

FRAMES_PER_SECOND = 12
LAST_FRAME_S = 1.5  # the end stays long enough to be read before a film starts again
_COLORS = 256  # of a GIF
_SAMPLED = 6  # frames that the palette is made from

UInt8Array = npt.NDArray[np.uint8]


def write_mp4(
    frames: Iterable[UInt8Array], path: str | Path, *, frames_per_second: int = FRAMES_PER_SECOND
) -> None:
    """Write frames as an MP4 film (VP9); equal frames give equal files.

    Args:
        frames: uint8 (H, W, 3), at least one, all of one size, H and W even; taken one by one.
        path: ends in .mp4; replaced if it is there, removed if writing fails.
        frames_per_second: from 1 to 60.

    Raises:
        GroupCamError: a value is not possible, or the file cannot be written.
        RuntimeError: this OpenCV has no VP9 encoder.
    """
    target = _checked_path(path, ".mp4", frames_per_second)
    first, rest = _first_of(frames)
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise GroupCamError(
            f"Frames of an MP4 must have an even height and width; got {height} x {width}. "
            "Pad them by a pixel."
        )
    with _no_half_file(target):
        writer = cv2.VideoWriter(
            str(target),
            cv2.CAP_FFMPEG,
            cv2.VideoWriter.fourcc(*"vp09"),
            float(frames_per_second),
            (width, height),
        )
        if not writer.isOpened():
            raise RuntimeError(
                "MP4 needs OpenCV with FFmpeg and VP9, which this one lacks. Install opencv-python "
                "from PyPI, or write a GIF."
            )
        try:
            frame = first
            for frame in chain([first], rest):
                _check_frame(frame, first)
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            for _ in range(round(LAST_FRAME_S * frames_per_second) - 1):
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
        if not target.stat().st_size:
            raise OSError("nothing was written")


def write_gif(
    frames: Iterable[UInt8Array], path: str | Path, *, frames_per_second: int = FRAMES_PER_SECOND
) -> None:
    """Write frames as an endless GIF with one palette of 256 colours; equal frames, equal files.

    Args:
        frames: uint8 (H, W, 3), at least one, all of one size; all are held in memory.
        path: ends in .gif; replaced if it is there, removed if writing fails.
        frames_per_second: from 1 to 60; GIF counts in hundredths of a second.

    Raises:
        GroupCamError: a value is not possible, or the file cannot be written.
    """
    target = _checked_path(path, ".gif", frames_per_second)
    first, rest = _first_of(frames)
    pictures = []
    for frame in chain([first], rest):
        _check_frame(frame, first)
        pictures.append(frame)
    palette = _palette(pictures)
    # Without dithering equal pixels stay equal, so only what changes is stored.
    indexed = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in pictures
    ]
    durations = [round(100 / frames_per_second) * 10] * len(indexed)  # ms
    durations[-1] = round(LAST_FRAME_S * 1000)
    with _no_half_file(target):
        indexed[0].save(
            target,
            "GIF",
            save_all=True,
            append_images=indexed[1:],
            duration=durations,
            loop=0,
            optimize=False,
        )


def _palette(frames: Sequence[UInt8Array]) -> Image.Image:
    """Return a picture with the palette that suits all frames, from some of them."""
    places = np.linspace(0, len(frames) - 1, min(_SAMPLED, len(frames))).round().astype(int)
    sample = np.concatenate([frames[place][::2, ::2] for place in places])
    return Image.fromarray(sample).quantize(_COLORS, method=Image.Quantize.MEDIANCUT)


def _checked_path(path: str | Path, suffix: str, frames_per_second: int) -> Path:
    """Return the path if it and the speed are possible, or raise."""
    target = Path(path)
    if target.suffix.lower() != suffix:
        raise GroupCamError(f"The film's path must end in {suffix}; got '{target.name}'.")
    if not target.parent.is_dir():
        raise GroupCamError(
            f"The film's folder must exist; there is none at '{target.parent}'. Make it first."
        )
    if not 1 <= frames_per_second <= 60:
        raise GroupCamError(f"frames_per_second must be between 1 and 60; got {frames_per_second}.")
    return target


def _first_of(frames: Iterable[UInt8Array]) -> tuple[UInt8Array, Iterator[UInt8Array]]:
    """Return the first frame and those after it."""
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise GroupCamError("A film must have at least one frame; got none.")
    return first, rest


def _check_frame(frame: UInt8Array, first: UInt8Array) -> None:
    """Refuse a frame that is no picture or of another size than the first."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise GroupCamError(f"A frame must be uint8 (H, W, 3); got {frame.dtype} {frame.shape}.")
    if frame.shape != first.shape:
        raise GroupCamError(
            f"Frames must have one size; got {first.shape[:2]} and {frame.shape[:2]}."
        )


@contextmanager
def _no_half_file(path: Path) -> Iterator[None]:
    """Remove the file if writing it fails, and say why in one sentence."""
    try:
        yield
    except OSError as error:
        path.unlink(missing_ok=True)
        raise GroupCamError(
            f"The film must be written to a place that allows it; '{path.name}' could not be "
            f"({error.strerror or error}). Choose another folder."
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
