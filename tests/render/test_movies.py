"""Films: what is in the files, and that nothing else is written."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from groupcam.errors import GroupCamError
from groupcam.render.movies import LAST_FRAME_S, write_gif, write_mp4

BOTH = pytest.mark.parametrize(
    ("write", "suffix"), [pytest.param(write_mp4, ".mp4"), pytest.param(write_gif, ".gif")]
)
Write = Callable[..., None]
Frame = npt.NDArray[np.uint8]


def growing(count: int = 5, size: tuple[int, int] = (48, 64)) -> list[Frame]:
    """Return frames in which an orange bar grows from the left on blue."""
    frames = np.full((count, *size, 3), (20, 60, 200), np.uint8)
    for place, frame in enumerate(frames):
        frame[:, : size[1] * place // (count - 1)] = (240, 140, 20)
    return list(frames)


def decoded(path: Path) -> list[Frame]:
    """Return the frames that are in a film."""
    if path.suffix == ".gif":
        with Image.open(path) as image:
            pictures = []
            for place in range(image.n_frames):  # type: ignore[attr-defined]  # a GIF has it
                image.seek(place)
                pictures.append(np.array(image.convert("RGB")))
            return pictures
    video = cv2.VideoCapture(str(path))
    frames = []
    while (read := video.read())[0]:
        frames.append(np.asarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), np.uint8))
    return frames


@BOTH
def test_film_shows_the_frames_in_their_order_and_colours(
    write: Write, suffix: str, tmp_path: Path
) -> None:
    frames = growing()

    write(frames, tmp_path / f"film{suffix}", frames_per_second=4)

    shown = decoded(tmp_path / f"film{suffix}")
    # An MP4 has no durations: its last frame is repeated.
    assert len(shown) == (len(frames) if suffix == ".gif" else 4 + round(4 * LAST_FRAME_S))
    for frame, found in zip(frames, shown, strict=False):
        assert np.abs(found.astype(int) - frame).mean() < 6  # lossy, yet no other picture


@BOTH
def test_equal_frames_give_equal_files(write: Write, suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(iter(growing()), tmp_path / f"{name}{suffix}")

    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_mp4_is_vp9_which_browsers_play(tmp_path: Path) -> None:
    write_mp4(growing(), tmp_path / "film.mp4")

    assert b"vp09" in (tmp_path / "film.mp4").read_bytes()


def test_gif_repeats_and_keeps_its_last_frame_for_longer(tmp_path: Path) -> None:
    write_gif(growing(3), tmp_path / "film.gif", frames_per_second=10)

    with Image.open(tmp_path / "film.gif") as image:
        durations = []
        for place in range(3):
            image.seek(place)
            durations.append(image.info["duration"])
        assert image.info["loop"] == 0
    assert durations == [100, 100, 1000 * LAST_FRAME_S]


@BOTH
def test_a_failing_frame_leaves_no_file(write: Write, suffix: str, tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        yield from growing(3)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write(frames(), tmp_path / f"film{suffix}")

    assert list(tmp_path.iterdir()) == []


@BOTH
@pytest.mark.parametrize(
    ("frames", "name", "options", "message"),
    [
        ([], "film", {}, "at least one frame"),
        (growing(3) + growing(3, (50, 64)), "film", {}, r"one size; got \(48, 64\) and \(50, 64\)"),
        ([growing()[0].astype(float)], "film", {}, r"uint8 \(H, W, 3\); got float64"),
        (growing(), "film", {"frames_per_second": 0}, "between 1 and 60; got 0"),
        (growing(), "nowhere/film", {}, "folder must exist"),
    ],
    ids=["none", "sizes", "floats", "speed", "folder"],
)
def test_what_is_no_film_is_refused_and_leaves_nothing(
    write: Write,
    suffix: str,
    tmp_path: Path,
    frames: list[Frame],
    name: str,
    options: dict[str, int],
    message: str,
) -> None:
    with pytest.raises(GroupCamError, match=message):
        write(frames, tmp_path / f"{name}{suffix}", **options)

    assert list(tmp_path.iterdir()) == []


def test_odd_sizes_are_refused_for_mp4_only(tmp_path: Path) -> None:
    write_gif(growing(3, (49, 64)), tmp_path / "film.gif")

    with pytest.raises(GroupCamError, match="even height and width; got 49 x 64"):
        write_mp4(growing(3, (49, 64)), tmp_path / "film.mp4")


@BOTH
def test_another_suffix_is_refused(write: Write, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(GroupCamError, match=f"must end in {suffix}; got 'film.avi'"):
        write(growing(), tmp_path / "film.avi")
