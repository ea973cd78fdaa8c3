"""The film of the curves: what its frames show, and its bounds."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from groupcam.errors import GroupCamError
from groupcam.metrics import Curves
from groupcam.metrics.curves import PerturbedPictures, changed_pixels
from groupcam.models import Backbone
from groupcam.share.film import MOST_FRAMES, film_frames, write_film

BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


@pytest.fixture(scope="module")
def frames(
    lite0: Backbone, perturbed: PerturbedPictures, curves: Curves
) -> list[npt.NDArray[np.uint8]]:
    return list(film_frames(perturbed, curves, lite0.preprocessing, lite0.class_names))


def spots(frame: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Return where a picture lies in a frame, (top, left) each."""
    height, width = picture.shape[:2]
    corners = np.argwhere((frame == picture[0, 0]).all(axis=2))
    return [
        (int(top), int(left))
        for top, left in corners
        if np.array_equal(frame[top : top + height, left : left + width], picture)
    ]


def test_every_point_of_short_curves_is_a_frame(
    frames: list[npt.NDArray[np.uint8]], curves: Curves
) -> None:
    assert len(frames) == len(curves.fractions) == 9
    assert len({frame.shape for frame in frames}) == 1
    assert all(side % 2 == 0 for side in frames[0].shape[:2])


@pytest.mark.parametrize("place", [0, 3, 8])
def test_a_frame_shows_both_perturbed_pictures_of_its_point(
    frames: list[npt.NDArray[np.uint8]],
    lite0: Backbone,
    perturbed: PerturbedPictures,
    curves: Curves,
    place: int,
) -> None:
    count = changed_pixels(224 * 224, curves.protocol)[place : place + 1]
    to_rgb = lite0.preprocessing.to_rgb

    inserted = spots(frames[place], to_rgb(perturbed.inserted(count))[0])
    deleted = spots(frames[place], to_rgb(perturbed.deleted(count))[0])

    assert (len(inserted), len(deleted)) == (1, 1)
    assert inserted[0][0] == deleted[0][0]  # beside each other, insertion on the left
    assert inserted[0][1] + 224 <= deleted[0][1]


def test_markers_move_to_the_right_and_as_high_as_the_curves(
    frames: list[npt.NDArray[np.uint8]], curves: Curves
) -> None:
    def centre_of_marker(frame: npt.NDArray[np.uint8]) -> tuple[float, float]:
        # Far right of the pictures and below the headings only the curve and its marker are blue;
        # the marker is where blue stands in whole squares.
        plot = (frame[40:, 500:] == BLUE).all(axis=2)
        solid = plot[:-4, :-4] & plot[4:, 4:] & plot[4:, :-4] & plot[:-4, 4:]
        rows, columns = np.nonzero(solid)
        return float(rows.mean()), float(columns.mean())

    centres = np.array([centre_of_marker(frame) for frame in frames])

    fractions, insertion = curves.fractions.numpy(), curves.insertion.numpy()
    across = np.polyfit(fractions, centres[:, 1], 1)
    assert across[0] > 200  # pixels from 0 to 1
    assert np.abs(np.polyval(across, fractions) - centres[:, 1]).max() < 2
    upwards = np.polyfit(insertion, centres[:, 0], 1)
    assert upwards[0] < -150
    assert np.abs(np.polyval(upwards, insertion) - centres[:, 0]).max() < 2


def test_the_curves_ahead_are_fainter_than_those_behind(
    frames: list[npt.NDArray[np.uint8]],
) -> None:
    orange = [int((frame[40:, 500:] == ORANGE).all(axis=2).sum()) for frame in frames]

    assert orange[-1] > 2 * orange[0]


def test_texts_follow_class_probability_and_top_class(
    lite0: Backbone, perturbed: PerturbedPictures, curves: Curves
) -> None:
    def last_frame(some: Curves, names: tuple[str, ...]) -> npt.NDArray[np.uint8]:
        *_, last = film_frames(perturbed, some, lite0.preprocessing, names, frames=2)
        return last

    plain = last_frame(curves, lite0.class_names)
    others = dataclasses.replace(
        curves,
        deletion_top=dataclasses.replace(
            curves.deletion_top, indices=curves.deletion_top.indices * 0
        ),
    )
    renamed = tuple(f"{name}!" for name in lite0.class_names)

    assert not np.array_equal(plain, last_frame(others, lite0.class_names))
    assert not np.array_equal(plain, last_frame(curves, renamed))
    np.testing.assert_array_equal(plain, last_frame(curves, lite0.class_names))


def test_frames_are_thinned_to_both_ends(
    frames: list[npt.NDArray[np.uint8]],
    lite0: Backbone,
    perturbed: PerturbedPictures,
    curves: Curves,
) -> None:
    few = list(film_frames(perturbed, curves, lite0.preprocessing, lite0.class_names, frames=3))

    assert len(few) == 3
    np.testing.assert_array_equal(few[0], frames[0])
    np.testing.assert_array_equal(few[1], frames[4])
    np.testing.assert_array_equal(few[2], frames[-1])


@pytest.mark.parametrize("picture_px", [96, 480])
def test_size_follows_the_pictures(
    lite0: Backbone, perturbed: PerturbedPictures, curves: Curves, picture_px: int
) -> None:
    frame = next(
        film_frames(
            perturbed, curves, lite0.preprocessing, lite0.class_names, picture_px=picture_px
        )
    )

    assert 3.8 * picture_px < frame.shape[1] < 4.3 * picture_px


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_film_is_one_file_at_its_path(
    lite0: Backbone,
    perturbed: PerturbedPictures,
    curves: Curves,
    tmp_path: Path,
    suffix: str,
) -> None:
    path = tmp_path / f"film{suffix}"

    write_film(
        path, perturbed, curves, lite0.preprocessing, lite0.class_names, frames=3, picture_px=96
    )

    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 1}, f"frames must be between 2 and {MOST_FRAMES}; got 1"),
        ({"frames": MOST_FRAMES + 1}, f"got {MOST_FRAMES + 1}"),
        ({"picture_px": 95}, "picture_px must be between 96 and 480; got 95"),
        ({"picture_px": 481}, "got 481"),
    ],
    ids=["too few", "too many", "too small", "too large"],
)
def test_bounds_are_kept(
    lite0: Backbone,
    perturbed: PerturbedPictures,
    curves: Curves,
    options: dict[str, int],
    message: str,
) -> None:
    with pytest.raises(GroupCamError, match=message):
        next(film_frames(perturbed, curves, lite0.preprocessing, lite0.class_names, **options))


def test_curves_of_another_size_are_refused(
    lite0: Backbone, perturbed: PerturbedPictures, curves: Curves
) -> None:
    fewer = dataclasses.replace(curves, fractions=curves.fractions[:5])

    with pytest.raises(GroupCamError, match="they have 5 points where its 50176 pixels give 9"):
        next(film_frames(perturbed, fewer, lite0.preprocessing, lite0.class_names))


def test_another_kind_of_film_is_refused(
    lite0: Backbone, perturbed: PerturbedPictures, curves: Curves, tmp_path: Path
) -> None:
    with pytest.raises(GroupCamError, match=r"\.mp4 or \.gif; got 'film\.webm'"):
        write_film(
            tmp_path / "film.webm", perturbed, curves, lite0.preprocessing, lite0.class_names
        )
