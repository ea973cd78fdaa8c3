"""The summary as plots: means with intervals, and differences to the reference."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groupcam.evaluate.measures import METRICS
from groupcam.evaluate.summary import Row, Summary
from groupcam.metrics.statistics import Interval

INK = "#222222"
BETTER, WORSE, UNCLEAR = "#0072B2", "#D55E00", "#767676"  # Okabe and Ito's palette, and a grey
PANEL_IN, ROW_IN = 3.1, 0.26
MOST_ACROSS = 4  # panels


def summary_figure(summary: Summary) -> Figure:
    """Return a panel a metric with every method's mean, and under it its difference.

    Differences are those to the reference, in blue where the interval says that the method is
    better, in orange where it says worse.
    """
    across = min(len(summary.metrics), MOST_ACROSS)
    down = -(-len(summary.metrics) // across)
    has_differences = any(row.method != summary.reference for row in summary.rows)
    kinds = 2 if has_differences else 1
    height = 1.0 + ROW_IN * len(summary.rows)
    names = _names(summary.rows)
    longest = max(map(len, names))
    figure = Figure(
        figsize=(0.075 * longest + PANEL_IN * across, down * kinds * height),
        layout="constrained",
        facecolor="white",
    )
    grid = figure.subplots(down * kinds, across, squeeze=False, sharey=True)
    for axes in grid.flat:
        axes.set_visible(False)
    for place, metric in enumerate(summary.metrics):
        row, column = place // across, place % across
        _draw_means(grid[row * kinds, column], summary, metric)
        if has_differences:
            _draw_differences(grid[row * kinds + 1, column], summary, metric)
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(names)), names, fontsize=7.5, parse_math=False)
    grid[0, 0].invert_yaxis()  # shared by all
    return figure


def _draw_means(axes: Axes, summary: Summary, metric: str) -> None:
    one = METRICS[metric]
    axes.set_visible(True)
    axes.set_title(f"{one.title}, {one.better} is better", fontsize=8.5)
    for place, row in enumerate(summary.rows):
        mean = row.cells[metric].mean
        if mean is not None:
            _draw_interval(axes, place, mean, INK)
            if row.method == summary.reference:
                axes.axvline(mean.value, color=INK, linewidth=0.6, linestyle=":")
    _finish(axes)


def _draw_differences(axes: Axes, summary: Summary, metric: str) -> None:
    axes.set_visible(True)
    axes.set_title(f"difference to {_short(summary.reference)}", fontsize=7.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    sign = 1 if METRICS[metric].better == "high" else -1
    for place, row in enumerate(summary.rows):
        comparison = row.cells[metric].comparison
        if comparison is not None:
            found = comparison.difference
            ends = sorted((sign * found.low, sign * found.high))
            color = BETTER if ends[0] > 0 else WORSE if ends[1] < 0 else UNCLEAR
            _draw_interval(axes, place, found, color)
    _finish(axes)


def _draw_interval(axes: Axes, place: int, interval: Interval, color: str) -> None:
    axes.plot([interval.low, interval.high], [place, place], color=color, linewidth=1.6)
    axes.plot([interval.value], [place], "o", color=color, markersize=4)


def _finish(axes: Axes) -> None:
    axes.margins(y=0.08)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _names(rows: Sequence[Row]) -> list[str]:
    """Return a label a row; backbone and layer only where there are several."""
    places = {(row.backbone, row.target_layer) for row in rows}
    if len(places) == 1:
        return [_short(row.method) for row in rows]
    return [
        f"{row.backbone.partition('/')[2]}, {row.target_layer}: {_short(row.method)}"
        for row in rows
    ]


def _short(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
