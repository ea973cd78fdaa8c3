"""Maps as colours: what each colour means, and what the picture keeps."""

from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest

from groupcam.errors import GroupCamError
from groupcam.render.heatmap import COLOR_MAPS, DEFAULT_COLOR_MAP, heatmap, masked_tile, overlay

BOX = (4, 6, 20, 26)


def noise(height: int = 24, width: int = 32) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bright_square() -> npt.NDArray[np.float32]:
    """Return a map that peaks in one cell of 8 x 8: row 2, column 5."""
    saliency_map = np.zeros((8, 8), dtype=np.float32)
    saliency_map[2, 5] = 1
    return saliency_map


def inside(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    return slice(box[0], box[2]), slice(box[1], box[3])


class TestHeatmap:
    @pytest.mark.parametrize("color_map", COLOR_MAPS)
    def test_one_is_the_hottest_and_zero_the_coldest_colour(self, color_map: str) -> None:
        ends = heatmap(np.array([[0.0, 1.0]]), color_map)

        for pixel, value in zip(ends[0], (0.0, 1.0), strict=True):
            expected = np.round(np.array(matplotlib.colormaps[color_map](value)[:3]) * 255)
            np.testing.assert_array_equal(pixel, expected)

    def test_hottest_colours_of_known_maps(self) -> None:
        hottest = {
            name: heatmap(np.ones((1, 1)), name)[0, 0].tolist() for name in ("jet", "viridis")
        }

        assert hottest == {"jet": [128, 0, 0], "viridis": [253, 231, 37]}  # dark red, yellow

    @pytest.mark.parametrize("color_map", ["inferno", "magma", "viridis", "cividis"])
    def test_lightness_rises_with_the_value(self, color_map: str) -> None:
        colors = heatmap(np.linspace(0, 1, 40)[None], color_map)[0].astype(float)

        luminance = colors @ (0.2126, 0.7152, 0.0722)

        assert (np.diff(luminance) > 0).all()

    def test_default_is_one_of_the_maps(self) -> None:
        assert DEFAULT_COLOR_MAP in COLOR_MAPS
        np.testing.assert_array_equal(
            heatmap(bright_square()), heatmap(bright_square(), DEFAULT_COLOR_MAP)
        )

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_float_types_agree(self, dtype: type) -> None:
        np.testing.assert_array_equal(
            heatmap(bright_square().astype(dtype)), heatmap(bright_square())
        )

    def test_unknown_map_names_the_nearest(self) -> None:
        with pytest.raises(GroupCamError, match=r"got 'infreno'\. Did you mean 'inferno'"):
            heatmap(bright_square(), "infreno")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
    def test_values_outside_the_unit_range_are_refused(self, bad: float) -> None:
        saliency_map = bright_square()
        saliency_map[0, 0] = bad

        with pytest.raises(GroupCamError, match=r"saliency_map must be finite and in \[0, 1\]"):
            heatmap(saliency_map)

    def test_rounding_beyond_one_is_allowed(self) -> None:
        np.testing.assert_array_equal(
            heatmap(np.array([[1 + 1e-6, -1e-6]])), heatmap(np.array([[1.0, 0.0]]))
        )

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
    def test_integer_maps_are_refused(self, dtype: type) -> None:
        with pytest.raises(TypeError, match=r"must be a float array in \[0, 1\]; got "):
            heatmap(np.zeros((8, 8), dtype=dtype))

    @pytest.mark.parametrize("shape", [(8,), (1, 8, 8), (0, 8)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(GroupCamError, match=r"saliency_map must be \(H, W\); got \("):
            heatmap(np.zeros(shape))


class TestOverlay:
    def test_opacity_zero_is_the_picture(self) -> None:
        np.testing.assert_array_equal(overlay(noise(), bright_square(), opacity=0), noise())

    def test_opacity_one_is_the_heatmap(self) -> None:
        saliency_map = np.random.default_rng(1).random((24, 32))

        np.testing.assert_array_equal(
            overlay(noise(), saliency_map, opacity=1), heatmap(saliency_map)
        )

    def test_half_opacity_is_the_mean(self) -> None:
        saliency_map = np.random.default_rng(1).random((24, 32))
        mean = (noise().astype(float) + heatmap(saliency_map)) / 2

        assert np.abs(overlay(noise(), saliency_map, opacity=0.5) - mean).max() <= 0.5

    def test_bright_cell_is_where_the_overlay_is_brightest(self) -> None:
        black = np.zeros((80, 160, 3), dtype=np.uint8)

        result = overlay(black, bright_square(), opacity=1).sum(axis=2)

        # Cell (2, 5) of 8 x 8 covers rows 20..30 and columns 100..120.
        row, column = np.unravel_index(result.argmax(), result.shape)
        assert 20 <= row < 30
        assert 100 <= column < 120

    def test_map_is_stretched_bilinearly(self) -> None:
        ramp = np.array([[0.0, 1.0]])
        black = np.zeros((1, 4, 3), dtype=np.uint8)

        # Pixel centres at 1/8, 3/8, 5/8, 7/8; cell centres at 1/4, 3/4.
        np.testing.assert_array_equal(
            overlay(black, ramp, opacity=1), heatmap(np.array([[0, 0.25, 0.75, 1]]))
        )

    def test_inputs_are_unchanged(self) -> None:
        rgb, saliency_map = noise(), bright_square()

        overlay(rgb, saliency_map, box=BOX)[:] = 0

        np.testing.assert_array_equal(rgb, noise())
        np.testing.assert_array_equal(saliency_map, bright_square())

    @pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
    def test_opacity_outside_its_range(self, opacity: float) -> None:
        with pytest.raises(GroupCamError, match=f"opacity must be between 0 and 1; got {opacity}"):
            overlay(noise(), bright_square(), opacity=opacity)

    def test_other_pictures_are_refused(self) -> None:
        picture_in_floats: Any = noise() / 255

        with pytest.raises(TypeError, match="rgb must be a uint8 array; got float64"):
            overlay(picture_in_floats, bright_square())
        with pytest.raises(GroupCamError, match=r"rgb must be \(H, W, 3\); got \(24, 32\)"):
            overlay(noise()[:, :, 0], bright_square())


class TestOverlayBox:
    def test_inside_the_box_is_an_overlay_of_that_part(self) -> None:
        expected = overlay(np.ascontiguousarray(noise()[inside(BOX)]), bright_square())

        result = overlay(noise(), bright_square(), box=BOX)

        np.testing.assert_array_equal(result[inside(BOX)], expected)

    def test_outside_is_grey_dimmed_and_blind_to_the_map_and_opacity(self) -> None:
        result = overlay(noise(), bright_square(), box=BOX, opacity=0.9)
        other = overlay(noise(), 1 - bright_square(), box=BOX, opacity=0.0)

        outside = np.ones((24, 32), dtype=bool)
        outside[inside(BOX)] = False
        np.testing.assert_array_equal(result[outside], other[outside])
        assert (np.ptp(result[outside], axis=1) == 0).all()
        beyond_the_line = result[: BOX[0] - 1]
        assert beyond_the_line.mean() < 0.6 * noise()[: BOX[0] - 1].mean()
        assert beyond_the_line.std() > 0  # still recognisable

    def test_box_of_the_whole_picture_is_no_box(self) -> None:
        np.testing.assert_array_equal(
            overlay(noise(), bright_square(), box=(0, 0, 24, 32)), overlay(noise(), bright_square())
        )

    def test_box_at_the_edge(self) -> None:
        result = overlay(noise(), bright_square(), box=(0, 0, 24, 24), opacity=0)

        np.testing.assert_array_equal(result[:, :24], noise()[:, :24])
        assert not np.array_equal(result[:, 24:], noise()[:, 24:])

    @pytest.mark.parametrize(
        "box", [(-1, 0, 9, 9), (0, 0, 25, 32), (0, 0, 24, 33), (9, 0, 9, 9), (0, 9, 9, 3)]
    )
    def test_box_outside_the_picture(self, box: tuple[int, int, int, int]) -> None:
        with pytest.raises(GroupCamError, match=r"inside the 24 x 32 \(H x W\) picture; got \("):
            overlay(noise(), bright_square(), box=box)


class TestMaskedTile:
    def test_full_mask_shows_the_picture(self) -> None:
        np.testing.assert_array_equal(masked_tile(noise(), np.ones((7, 7))), noise())

    def test_empty_mask_hides_colour_and_most_light(self) -> None:
        tile = masked_tile(noise(), np.zeros((7, 7)))

        assert (np.ptp(tile, axis=2) == 0).all()
        assert 0 < tile.mean() < 0.4 * noise().mean()

    def test_brighter_where_the_mask_is_larger(self) -> None:
        white = np.full((1, 5, 3), 255, dtype=np.uint8)

        tile = masked_tile(white, np.linspace(0, 1, 5)[None])[0, :, 0].astype(int)

        assert (np.diff(tile) > 0).all()

    @pytest.mark.parametrize(
        ("mask", "error", "message"),
        [
            (np.full((7, 7), np.nan), GroupCamError, "mask must be finite"),
            (np.ones((7, 7), dtype=bool), TypeError, "mask must be a float array"),
            (np.ones((1, 7, 7)), GroupCamError, r"mask must be \(H, W\)"),
        ],
        ids=["nan", "bool", "batch"],
    )
    def test_bad_masks(self, mask: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            masked_tile(noise(), mask)
