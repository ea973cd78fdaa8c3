"""Curves of several runs on one figure: told apart, named as given, bounded."""

import numpy as np
import pytest

from groupcam.errors import GroupCamError
from groupcam.render.compared import (
    MOST_RUNS,
    RUN_COLORS,
    DrawnCurves,
    compared_curves_figure,
)
from groupcam.render.figures import png_of, svg_of

FRACTIONS = np.linspace(0, 1, 21)


def some_curves(strength: float) -> DrawnCurves:
    return DrawnCurves(FRACTIONS, FRACTIONS**strength, 1 - FRACTIONS**strength, 0.25, 0.125)


def runs(count: int) -> dict[str, DrawnCurves]:
    return {f"run {place}": some_curves(1 + place) for place in range(count)}


def test_each_run_has_a_colour_and_a_marker_of_its_own() -> None:
    lines = compared_curves_figure(runs(MOST_RUNS)).axes[0].lines

    styles = [(line.get_color(), line.get_marker()) for line in lines]
    assert styles[::2] == styles[1::2]  # insertion and deletion of a run look alike ...
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * MOST_RUNS  # ... but for this
    assert [color for color, _ in styles[::2]] == list(RUN_COLORS)
    assert len({marker for _, marker in styles}) == MOST_RUNS


def test_lines_are_the_curves() -> None:
    (insertion, deletion) = compared_curves_figure({"one": some_curves(2)}).axes[0].lines

    np.testing.assert_array_equal(insertion.get_ydata(), FRACTIONS**2)
    np.testing.assert_array_equal(deletion.get_ydata(), 1 - FRACTIONS**2)


@pytest.mark.parametrize("name", ["$x_1$ <b>&", "Grad-CAM", "猫"])
def test_names_are_shown_as_they_are(name: str) -> None:
    figure = compared_curves_figure({name: some_curves(2)}, class_label="$cat$")

    texts = [text.get_text() for text in figure.texts]
    assert name in texts
    assert {"0.250", "0.125"} <= set(texts)
    assert not any(text.get_parse_math() for text in figure.texts if text.get_text() == name)
    assert figure.axes[0].get_ylabel() == "probability of $cat$"


def test_long_names_are_cut() -> None:
    figure = compared_curves_figure({"n" * 200: some_curves(2)})

    assert "n" * 59 + "…" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("count", [0, MOST_RUNS + 1])
def test_too_few_or_too_many_runs_are_refused(count: int) -> None:
    compared_curves_figure(runs(1))

    with pytest.raises(GroupCamError, match=f"1 to {MOST_RUNS} runs .* got {count}"):
        compared_curves_figure(runs(count))


def test_equal_figures_give_equal_files() -> None:
    one, other = (compared_curves_figure(runs(2)) for _ in range(2))

    assert png_of(one) == png_of(other)
    assert svg_of(one) == svg_of(other)


def test_svg_keeps_text_as_text_and_escapes_it() -> None:
    text = svg_of(compared_curves_figure({"<script>&": some_curves(2)}))

    assert "&lt;script&gt;&amp;" in text
    assert "<script>" not in text
    assert "fraction of pixels changed" in text
    assert "<dc:date>" not in text
