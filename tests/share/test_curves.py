"""Curves as tables: what stands in them, for one run and for several."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from groupcam.errors import GroupCamError
from groupcam.metrics import Curves
from groupcam.render.figures import svg_of
from groupcam.share.curves import compared_csv, compared_figure, curves_csv, figure_of


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_table_has_every_point_exactly(curves: Curves) -> None:
    rows = rows_of(curves_csv(curves))

    for column in ("fraction", "insertion", "deletion"):
        values = getattr(curves, "fractions" if column == "fraction" else column)
        np.testing.assert_array_equal([float(row[column]) for row in rows], values.numpy())


def test_table_of_several_runs_names_the_run_in_every_line(curves: Curves) -> None:
    names = ['a, "quoted" name', "two\nlines"]

    rows = rows_of(compared_csv(dict.fromkeys(names, curves)))

    points = len(curves.fractions)
    assert [row["run"] for row in rows] == [names[0]] * points + [names[1]] * points
    one = rows_of(curves_csv(curves))
    assert [{**row, "run": names[1]} for row in one] == rows[points:]


def test_figure_says_the_areas_and_the_class(curves: Curves) -> None:
    text = svg_of(figure_of(curves, "Egyptian cat"))

    assert f"Insertion: AUC {curves.insertion_auc:.3f}" in text
    assert f"Deletion: AUC {curves.deletion_auc:.3f}" in text
    assert "probability of Egyptian cat" in text


def test_figure_of_several_runs_takes_different_step_counts(curves: Curves) -> None:
    fewer = dataclasses.replace(
        curves,
        fractions=curves.fractions[::2],
        insertion=curves.insertion[::2],
        deletion=curves.deletion[::2],
    )

    lines = compared_figure({"all": curves, "fewer": fewer}).axes[0].lines

    assert [len(np.asarray(line.get_xdata())) for line in lines] == [9, 9, 5, 5]


def test_no_run_is_no_figure() -> None:
    with pytest.raises(GroupCamError, match="1 to 7 runs"):
        compared_figure({})
