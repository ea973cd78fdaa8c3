"""The summary as rows of text, as CSV and as Markdown."""

import csv
import io

from groupcam.evaluate.measures import METRICS
from groupcam.evaluate.summary import Cell, Row, Summary
from groupcam.metrics.statistics import Interval
from groupcam.render.markdown import markdown_table

Cells = tuple[str, ...]

NOTE = (
    "Means over pictures with 95 % bootstrap intervals. Differences are method - reference on the "
    "same pictures; p from a sign-flip test, Holm-adjusted for the methods compared; wins: share "
    "of pictures on which the method is better."
)


def mean_rows(summary: Summary) -> tuple[Cells, list[Cells]]:
    """Return headings and a row a method: the mean of each metric."""
    headings = ("Backbone", "Layer", "Method", *_titles(summary), "N", "Failed")
    rows: list[Cells] = [
        (
            *_names(row),
            *(_mean_text(row, row.cells[metric]) for metric in summary.metrics),
            str(row.pictures),
            str(row.failed),
        )
        for row in summary.rows
    ]
    return headings, rows


def comparison_rows(summary: Summary) -> tuple[Cells, list[Cells]]:
    """Return headings and a row a method but the reference: its differences and wins."""
    headings = ("Backbone", "Layer", "Method", *_titles(summary))
    rows: list[Cells] = [
        (*_names(row), *(_comparison_text(row.cells[metric]) for metric in summary.metrics))
        for row in summary.rows
        if row.method != summary.reference
    ]
    return headings, rows


def failure_rows(summary: Summary) -> tuple[Cells, list[Cells]]:
    """Return headings and a row a failure."""
    rows: list[Cells] = [
        (one.picture, one.backbone, one.method or "all", one.reason) for one in summary.failures
    ]
    return ("Picture", "Backbone", "Method", "Reason"), rows


def as_csv(summary: Summary) -> str:
    """Return a line a backbone, layer, method and metric, with all digits."""
    records = [
        _record(summary, row, metric, cell)
        for row in summary.rows
        for metric, cell in row.cells.items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(summary: Summary, row: Row, metric: str, cell: Cell) -> dict[str, object]:
    """Return a line of the CSV; what does not apply is None, an empty cell."""
    versus = cell.comparison
    return {
        "backbone": row.backbone,
        "target_layer": row.target_layer,
        "method": row.method,
        "metric": metric,
        "better": METRICS[metric].better,
        "pictures": cell.pictures,
        "failed": row.failed,
        **_columns("mean", cell.mean),
        "reference": summary.reference,
        "compared": None if versus is None else versus.pictures,
        **_columns("difference", None if versus is None else versus.difference),
        "p_value": None if versus is None else versus.p_value,
        "adjusted_p_value": None if versus is None else versus.adjusted_p_value,
        **_columns("win_rate", None if versus is None else versus.wins),
    }


def _columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return an interval as three columns."""
    return {
        name: None if interval is None else interval.value,
        f"{name}_low": None if interval is None else interval.low,
        f"{name}_high": None if interval is None else interval.high,
    }


def as_markdown(summary: Summary, protocol: str) -> str:
    """Return both tables and the failures.

    Args:
        summary: of an evaluation.
        protocol: how it was made, in one paragraph.
    """
    parts = [protocol, NOTE, markdown_table(*mean_rows(summary))]
    headings, rows = comparison_rows(summary)
    if rows:
        parts += [f"Compared with {summary.reference}:", markdown_table(headings, rows)]
    if summary.failures:
        parts += ["Failures:", markdown_table(*failure_rows(summary))]
    return "\n\n".join(parts) + "\n"


def _titles(summary: Summary) -> Cells:
    """Return the metrics' titles with an arrow to where better is."""
    return tuple(
        f"{METRICS[name].title} {'↑' if METRICS[name].better == 'high' else '↓'}"
        for name in summary.metrics
    )


def _names(row: Row) -> Cells:
    return row.backbone, row.target_layer, row.method


def _mean_text(row: Row, cell: Cell) -> str:
    if cell.mean is None:
        return "-"
    fewer = "" if cell.pictures == row.pictures else f" (N = {cell.pictures})"
    mean = cell.mean
    return f"{_digits(mean.value)} [{_digits(mean.low)}, {_digits(mean.high)}]{fewer}"


def _comparison_text(cell: Cell) -> str:
    if cell.comparison is None:
        return "-"
    difference, wins = cell.comparison.difference, cell.comparison.wins
    return (
        f"{_digits(difference.value, '+')} "
        f"[{_digits(difference.low, '+')}, {_digits(difference.high, '+')}], "
        f"p = {cell.comparison.adjusted_p_value:.2g}, wins {wins.value:.0%}"
    )


def _digits(value: float, sign: str = "") -> str:
    """Return a number with three decimals, or four digits where it is large (passes)."""
    return f"{value:{sign}.3f}" if abs(value) < 10 else f"{value:{sign}.4g}"
