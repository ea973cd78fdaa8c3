"""Figures: what they say, in which order, and that they leave nothing open."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from groupcam.errors import GroupCamError
from groupcam.render.figures import (
    curves_figure,
    explanation_figure,
    groups_by_weight,
    mask_caption,
    masks_sheet,
    save_png,
)
from groupcam.render.heatmap import masked_tile


def noise(height: int = 24, width: int = 24) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def four_groups() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return masks and weights of four groups; the third mask is empty, the first gains nothing."""
    masks = np.random.default_rng(1).random((4, 7, 7))
    masks[2] = 0
    return masks, np.array([0.0, 0.25, 0.0, 0.5])


def sheet() -> Figure:
    return masks_sheet(noise(), *four_groups())


def curves() -> Figure:
    return curves_figure([0, 0.5, 1], [0.1, 0.4, 0.8], [0.8, 0.2, 0], 0.425, 0.3, class_label="cat")


def explanation() -> Figure:
    return explanation_figure(noise(), noise(), "Group-CAM for a cat\nblocks.6")


EVERY_FIGURE = pytest.mark.parametrize("make", [sheet, curves, explanation])


class TestMasksSheet:
    def test_captions_are_in_order_of_weight(self) -> None:
        captions = [axes.get_title() for axes in sheet().axes]

        assert captions == [
            "Group 4 · 0.500",
            "Group 2 · 0.250",
            "Group 1 · no gain",
            "Group 3 · empty",
        ]

    def test_tiles_are_the_masked_pictures_of_their_captions(self) -> None:
        masks, _ = four_groups()

        shown = [axes.images[0].get_array() for axes in sheet().axes]

        for tile, group in zip(shown, (3, 1, 0, 2), strict=True):
            np.testing.assert_array_equal(tile, masked_tile(noise(), masks[group]))

    def test_dead_groups_have_quiet_captions(self) -> None:
        colors = [axes.title.get_color() for axes in sheet().axes]

        assert colors[0] == colors[1] != colors[2] == colors[3]

    def test_rows_are_filled_up_with_nothing(self) -> None:
        masks, weights = four_groups()

        figure = masks_sheet(noise(), masks, weights, columns=3)

        assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1, 0, 0]
        assert not any(axes.axison for axes in figure.axes)

    @pytest.mark.parametrize("size_hw", [(400, 20), (20, 400), (3000, 2000)])
    def test_odd_pictures_give_a_sheet_of_bounded_size(self, size_hw: tuple[int, int]) -> None:
        width, height = masks_sheet(noise(*size_hw), *four_groups()).get_size_inches()

        assert width < 7
        assert height < 4

    def test_masks_and_weights_must_match(self) -> None:
        masks, weights = four_groups()

        with pytest.raises(GroupCamError, match=r"got masks \(4, 7, 7\) and weights \(3,\)"):
            masks_sheet(noise(), masks, weights[:3])
        with pytest.raises(GroupCamError, match="one weight each"):
            masks_sheet(noise(), masks[:0], weights[:0])
        with pytest.raises(GroupCamError, match="columns must be at least 1; got 0"):
            masks_sheet(noise(), masks, weights, columns=0)

    def test_equal_weights_keep_their_order(self) -> None:
        assert groups_by_weight(np.array([0.2, 0.5, 0.2, 0.5, 0.2])) == [1, 3, 0, 2, 4]

    @pytest.mark.parametrize(
        ("weight", "is_empty", "expected"),
        [
            (0.4125, False, "Group 7 · 0.412"),
            (0.0005, False, "Group 7 · 0.001"),
            (0.0004, False, "Group 7 · <0.001"),
            (0.0, False, "Group 7 · no gain"),
            (0.0, True, "Group 7 · empty"),
        ],
    )
    def test_captions(self, weight: float, is_empty: bool, expected: str) -> None:
        assert mask_caption(6, weight, is_empty=is_empty) == expected


class TestCurves:
    def test_labels_name_areas_axes_and_class(self) -> None:
        axes = curves().axes[0]

        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == [
            "Insertion: AUC 0.425, higher is better",
            "Deletion: AUC 0.300, lower is better",
        ]
        assert axes.get_xlabel() == "fraction of pixels changed"
        assert axes.get_ylabel() == "probability of cat"

    def test_lines_hold_the_given_values_and_differ_without_colour(self) -> None:
        insertion, deletion = curves().axes[0].lines

        np.testing.assert_array_equal(insertion.get_xydata(), [(0, 0.1), (0.5, 0.4), (1, 0.8)])
        np.testing.assert_array_equal(deletion.get_xydata(), [(0, 0.8), (0.5, 0.2), (1, 0)])
        assert insertion.get_linestyle() != deletion.get_linestyle()

    def test_areas_are_filled(self) -> None:
        assert len(curves().axes[0].collections) == 2

    def test_axes_stay_from_zero_to_one_while_curves_grow(self) -> None:
        axes = curves_figure([0], [0.1], [0.8], 0.0, 0.0).axes[0]

        assert axes.get_xlim() == (0, 1)
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] >= 1

    def test_dollar_signs_in_a_class_name_are_no_formula(self, tmp_path: Path) -> None:
        figure = curves_figure([0, 1], [0, 1], [1, 0], 0.5, 0.5, class_label=r"5 $\frac$ note")

        save_png(figure, tmp_path / "a.png")

        assert figure.axes[0].get_ylabel() == r"probability of 5 $\frac$ note"

    def test_legend_lies_on_the_page(self) -> None:
        figure = curves()
        figure.canvas.draw()
        legend = figure.axes[0].get_legend()

        assert legend is not None
        extent = legend.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert extent.y1 <= figure.bbox.height

    def test_lengths_must_match(self) -> None:
        with pytest.raises(GroupCamError, match="equally long; got 2, 2 and 1"):
            curves_figure([0, 1], [0, 1], [1], 0.5, 0.5)


class TestExplanation:
    def test_picture_left_overlay_right_caption_below(self) -> None:
        figure = explanation_figure(noise(), 255 - noise(), "one\ntwo")

        left, right = figure.axes
        np.testing.assert_array_equal(left.images[0].get_array(), noise())
        np.testing.assert_array_equal(right.images[0].get_array(), 255 - noise())
        assert left.get_position().x1 < right.get_position().x0
        assert figure.texts[0].get_text() == "one\ntwo"
        assert figure.texts[0].get_position()[1] < left.get_position().y0

    def test_long_captions_stay_on_the_page(self) -> None:
        figure = explanation_figure(noise(), noise(), "a long caption " * 30)
        figure.canvas.draw()

        extent = figure.texts[0].get_window_extent()
        assert extent.x1 <= figure.bbox.width
        assert extent.y0 >= 0

    def test_sizes_must_match(self) -> None:
        with pytest.raises(GroupCamError, match=r"got \(24, 24, 3\) and \(24, 30, 3\)"):
            explanation_figure(noise(), noise(24, 30), "")


class TestFiles:
    @EVERY_FIGURE
    def test_png_is_written_and_readable(self, make: Callable[[], Figure], tmp_path: Path) -> None:
        save_png(make(), tmp_path / "figure.png")

        with Image.open(tmp_path / "figure.png") as image:
            image.load()
            assert image.format == "PNG"
            assert min(image.size) > 100

    @EVERY_FIGURE
    def test_pyplot_knows_nothing_of_it(self, make: Callable[[], Figure]) -> None:
        make()

        pyplot = sys.modules.get("matplotlib.pyplot")
        assert pyplot is None or pyplot.get_fignums() == []
