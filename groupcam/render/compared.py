"""Curves of several runs on one pair of axes, told apart with any kind of colour vision."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from groupcam.errors import GroupCamError
from groupcam.render.figures import (
    QUIET_COLOR,
    TEXT_COLOR,
    finish_curves,
    new_figure,
    shortened,
)

# Okabe and Ito's palette (2008) without the yellow, which white swallows. Every run has a marker
# of its own too, for print without colours.
RUN_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_RUNS = len(RUN_COLORS)


class DrawnCurves(NamedTuple):
    """The curves of one run as arrays."""

    fractions: npt.NDArray[Any]  # (S+1,): share of pixels changed, in [0, 1]
    insertion: npt.NDArray[Any]  # (S+1,): probability of the class
    deletion: npt.NDArray[Any]  # (S+1,)
    insertion_auc: float  # higher is better
    deletion_auc: float  # lower is better


def compared_curves_figure(
    runs: Mapping[str, DrawnCurves], *, class_label: str = "the class"
) -> Figure:
    """Return the curves of several runs on one pair of axes, with a table of their areas.

    A run has a colour and a marker; its insertion curve is solid, its deletion curve dashed.

    Args:
        runs: curves by the name that the legend gives the run; S may differ from run to run.
        class_label: whose probability it is.

    Raises:
        GroupCamError: there is no run, or more than can be told apart.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise GroupCamError(
            f"There must be 1 to {MOST_RUNS} runs on one figure, so that they can be told apart; "
            f"got {len(runs)}. Leave some out."
        )
    legend_in = 0.2 + 0.2 * (len(runs) + 1)
    figure = new_figure(7.2, 4.0 + legend_in)
    axes = figure.subplots()
    styles = zip(RUN_COLORS, _RUN_MARKERS, strict=True)
    lines: list[Line2D] = []
    for place, (curves, (color, marker)) in enumerate(zip(runs.values(), styles, strict=False)):
        for values, line_style in ((curves.insertion, "-"), (curves.deletion, "--")):
            # Markers of different runs at different places, so that none covers another.
            points = len(curves.fractions)
            every = max(1, points // 8)
            (line,) = axes.plot(
                curves.fractions,
                values,
                color=color,
                linewidth=1.8,
                linestyle=line_style,
                marker=marker,
                markersize=5,
                markevery=(round(every * place / len(runs)), every),
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
            if line_style == "-":
                lines.append(line)
    finish_curves(axes, class_label)
    top = 1 - legend_in / figure.get_figheight()
    figure.subplots_adjust(left=0.09, right=0.975, bottom=0.5 / figure.get_figheight(), top=top)
    _add_run_table(figure, runs, lines, top)
    return figure


def _add_run_table(
    figure: Figure, runs: Mapping[str, DrawnCurves], lines: Sequence[Line2D], bottom: float
) -> None:
    """Write names and areas above the axes in columns; `bottom` is where the axes end, 0 to 1."""
    row = 0.2 / figure.get_figheight()
    height = bottom + (len(runs) + 0.75) * row
    columns = ((0.105, "left"), (0.77, "right"), (0.97, "right"))
    headings = ("", "insertion AUC ↑", "deletion AUC ↓")
    for (at, side), heading in zip(columns, headings, strict=True):
        figure.text(at, height, heading, fontsize=8.5, color=QUIET_COLOR, ha=side, va="center")
    for start, dashes in ((0.585, (0, ())), (0.80, (0, (3.7, 1.6)))):  # as matplotlib's "--"
        figure.add_artist(
            Line2D([start, start + 0.035], [height] * 2, color=QUIET_COLOR, linestyle=dashes)
        )
    for place, ((name, curves), line) in enumerate(zip(runs.items(), lines, strict=True)):
        at = height - (place + 1) * row
        figure.add_artist(
            Line2D(
                [0.05, 0.07, 0.09], [at] * 3, color=line.get_color(), linewidth=1.8,
                marker=line.get_marker(), markevery=[1], markersize=5,
            )
        )  # fmt: skip
        cells = (shortened(name, 60), f"{curves.insertion_auc:.3f}", f"{curves.deletion_auc:.3f}")
        for (x, side), cell in zip(columns, cells, strict=True):
            figure.text(
                x, at, cell, fontsize=9, color=TEXT_COLOR, ha=side, va="center", parse_math=False
            )
