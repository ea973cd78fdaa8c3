"""From entries to a table: means with intervals, and each method against the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from groupcam.errors import GroupCamError, did_you_mean
from groupcam.evaluate.journal import Entry
from groupcam.evaluate.measures import METRICS
from groupcam.evaluate.run import Results
from groupcam.metrics.statistics import (
    Interval,
    difference_interval,
    mean_interval,
    sign_flip_p_value,
    win_rate,
)


@dataclass(frozen=True)
class Comparison:
    """A method against the reference, on the pictures that have a value of both."""

    pictures: int
    difference: Interval  # of the means, method - reference
    p_value: float  # two-sided, see sign_flip_p_value
    adjusted_p_value: float  # for the number of methods that are compared (Holm)
    wins: Interval  # share of pictures on which the method is better; a tie is half a win


@dataclass(frozen=True)
class Cell:
    """One method and metric."""

    pictures: int  # with a value
    mean: Interval | None  # None where no picture has a value
    comparison: Comparison | None  # None for the reference, and where no picture has both values


@dataclass(frozen=True)
class Row:
    """One method at one layer of one backbone."""

    backbone: str
    target_layer: str
    method: str
    pictures: int  # that have results
    failed: int
    cells: dict[str, Cell]  # by metric


@dataclass(frozen=True)
class Failure:
    """A picture without results, as a whole or of one method."""

    picture: str
    backbone: str
    method: str | None  # None: all
    reason: str


@dataclass(frozen=True)
class Summary:
    """The table of an evaluation."""

    reference: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]


def summarise(results: Results, reference: str | None = None) -> Summary:
    """Return means with 95 % intervals and comparisons. It is the same every time.

    Args:
        results: of a finished evaluation.
        reference: the method that all others are compared with; None takes the first.

    Raises:
        GroupCamError: the reference was not evaluated.
    """
    methods, metrics = results.settings.methods, results.settings.metrics
    reference = checked_reference(methods, reference)
    rows: list[Row] = []
    for entries in _places(results.entries):
        cells = {
            metric: _cells(
                [_values(entries, method, metric) for method in methods],
                metric,
                methods.index(reference),
            )
            for metric in metrics
        }
        layers = [entry["target_layer"] for entry in entries if "target_layer" in entry]
        for place, method in enumerate(methods):
            failed = sum(_error(entry, method) is not None for entry in entries)
            rows.append(
                Row(
                    entries[0]["backbone"],
                    layers[0] if layers else entries[0]["layer"] or "",
                    method,
                    len(entries) - failed,
                    failed,
                    {metric: cells[metric][place] for metric in metrics},
                )
            )
    return Summary(reference, metrics, tuple(rows), _failures(results.entries))


def checked_reference(methods: Sequence[str], reference: str | None) -> str:
    """Return the method that others are compared with.

    Raises:
        GroupCamError: it is not among the methods.
    """
    if reference is None:
        return methods[0]
    if reference not in methods:
        raise GroupCamError(
            f"reference must be one of the methods, {', '.join(methods)}; got '{reference}'."
            f"{did_you_mean(reference, methods)}"
        )
    return reference


def _places(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries of each backbone and layer, in their order."""
    places: dict[Any, list[Entry]] = {}
    for entry in entries:
        places.setdefault((entry["backbone"], entry["layer"]), []).append(entry)
    return list(places.values())


def _error(entry: Entry, method: str) -> str | None:
    """Return why a method has no values of a picture, or None where it has."""
    error: str | None = entry.get("error") or entry["methods"][method].get("error")
    return error


def _values(entries: Sequence[Entry], method: str, metric: str) -> list[float | None]:
    """Return a value a picture; None where there is none."""
    return [
        None if _error(entry, method) else entry["methods"][method]["values"][metric]
        for entry in entries
    ]


def _cells(values: Sequence[Sequence[float | None]], metric: str, reference: int) -> list[Cell]:
    """Return the cells of one metric, a method each."""
    is_high_better = METRICS[metric].better == "high"
    found: list[tuple[int, Interval, float, Interval] | None] = []
    for place, own in enumerate(values):
        pairs = [
            (one, two)
            for one, two in zip(own, values[reference], strict=True)
            if one is not None and two is not None
        ]
        if place == reference or not pairs:
            found.append(None)
            continue
        first, second = ([pair[which] for pair in pairs] for which in (0, 1))
        found.append(
            (
                len(pairs),
                difference_interval(first, second),
                sign_flip_p_value(first, second),
                win_rate(first, second) if is_high_better else win_rate(second, first),
            )
        )
    adjusted = iter(holm([one[2] for one in found if one is not None]))
    comparisons = [
        None if one is None else Comparison(one[0], one[1], one[2], next(adjusted), one[3])
        for one in found
    ]
    cells = []
    for own, comparison in zip(values, comparisons, strict=True):
        there = [value for value in own if value is not None]
        cells.append(Cell(len(there), mean_interval(there) if there else None, comparison))
    return cells


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number, in the same order.

    Reference:
        Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _failures(entries: Sequence[Entry]) -> tuple[Failure, ...]:
    failures = []
    for entry in entries:
        if "error" in entry:
            failures.append(Failure(entry["picture"], entry["backbone"], None, entry["error"]))
            continue
        failures += [
            Failure(entry["picture"], entry["backbone"], method, found["error"])
            for method, found in entry["methods"].items()
            if "error" in found
        ]
    return tuple(failures)
