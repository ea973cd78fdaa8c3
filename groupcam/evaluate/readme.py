"""The README's results: tables made from journals that are committed, never typed by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from groupcam.errors import GroupCamError
from groupcam.evaluate.journal import Entry, read_entries, read_header, rewrite_journal
from groupcam.evaluate.measures import METRICS
from groupcam.evaluate.report import protocol_text
from groupcam.evaluate.run import Results
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.evaluate.summary import Row, Summary, summarise
from groupcam.evaluate.variants import parse_variant
from groupcam.metrics.statistics import Interval
from groupcam.render.markdown import markdown_table, put_section

SECTION_START = "<!-- results: written by python -m groupcam results --readme -->"
SECTION_END = "<!-- end of results -->"
COMPARED_BY = "over_all"
DIGITS = 5  # of the values in a compact journal


def load_results(path: Path) -> Results:
    """Return the results of a journal, as they were when it was written.

    Raises:
        GroupCamError: it is no journal of an evaluation.
    """
    card = read_header(path)
    if not card or "settings" not in card:
        raise GroupCamError(
            f"'{path}' must be the results of an evaluation (a .jsonl file); it is not."
        )
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in card["settings"].items()
    }
    return Results(card, EvaluateSettings(**told), tuple(read_entries(path)))


def compact(path: Path, out: Path) -> None:
    """Write a journal without the maps that only the report shows, and with fewer digits."""
    results = load_results(path)
    entries = [_compact_entry(entry) for entry in results.entries]
    rewrite_journal(out, results.card, entries)


def readme_section(named: Sequence[tuple[str, Path]]) -> str:
    """Return the README's tables.

    Args:
        named: a title and a journal each.
    """
    parts = [
        "Means with the half-width of their 95 % bootstrap interval. The last column is the "
        "difference in over-all to the reference on the same pictures, with its 95 % interval, "
        "and the share of pictures won."
    ]
    for title, path in named:
        results = load_results(path)
        summary = summarise(results, reference_of(results))
        where = _where(summary)
        parts += [f"**{title}.** {where}{protocol_text(results.card)}", _table(summary)]
    return "\n\n".join(parts)


def write_readme_section(named: Sequence[tuple[str, Path]], readme: Path) -> None:
    """Put the section between its marks in the README.

    Raises:
        GroupCamError: the marks are not there.
    """
    put_section(readme, SECTION_START, SECTION_END, readme_section(named))


def reference_of(results: Results) -> str:
    """Return the method that the others are compared with: the authors' code where it is there."""
    methods = results.settings.methods
    return "group_cam_official" if "group_cam_official" in methods else methods[0]


def title_of(path: Path) -> str:
    """Return what a journal's name says: "1-confirming-half" is "Confirming half"."""
    words = path.stem.lstrip("0123456789-").replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def _compact_entry(entry: Entry) -> Entry:
    if "methods" not in entry:
        return entry
    methods = {
        name: found
        if "values" not in found
        else {"values": {metric: _rounded(value) for metric, value in found["values"].items()}}
        for name, found in entry["methods"].items()
    }
    return {**entry, "methods": methods}


def _rounded(value: Any) -> Any:
    return value if value is None else float(f"{value:.{DIGITS}g}")


def _where(summary: Summary) -> str:
    """Return the network and layer where all rows share them."""
    places = {(row.backbone, row.target_layer) for row in summary.rows}
    if len(places) > 1:
        return ""
    ((backbone, layer),) = places
    return f"{backbone}, layer {layer}; "


def _table(summary: Summary) -> str:
    """Return one table; backbone and layer have columns only where they differ."""
    places = [
        (heading, [getattr(row, field) for row in summary.rows])
        for heading, field in (("Backbone", "backbone"), ("Layer", "target_layer"))
    ]
    shown = [(heading, column) for heading, column in places if len(set(column)) > 1]
    is_compared = COMPARED_BY in summary.metrics
    headings = [
        *(heading for heading, _ in shown),
        "Method",
        *(
            f"{METRICS[name].title} {'↑' if METRICS[name].better == 'high' else '↓'}"
            for name in summary.metrics
        ),
        *(["Over-all against the reference"] if is_compared else []),
        "N",
    ]
    lines = []
    for place, row in enumerate(summary.rows):
        lines.append(
            [
                *(column[place] for _, column in shown),
                _title(row.method),
                *(_mean(row.cells[name].mean) for name in summary.metrics),
                *([_against(summary, row)] if is_compared else []),
                str(row.pictures),
            ]
        )
    return markdown_table(headings, lines)


def _title(method: str) -> str:
    """Return how a method is called, with the options that were given."""
    _, _, options = method.partition(":")
    title = parse_variant(method).method.title
    return f"{title}, {options.replace(',', ', ')}" if options else title


def _mean(mean: Interval | None) -> str:
    if mean is None:
        return "-"
    if abs(mean.value) >= 10:
        return f"{mean.value:.4g}"
    return f"{mean.value:.3f} ± {(mean.high - mean.low) / 2:.3f}"


def _against(summary: Summary, row: Row) -> str:
    versus = row.cells[COMPARED_BY].comparison
    if versus is None:
        return "the reference" if row.method == summary.reference else "-"
    found = versus.difference
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}], wins {versus.wins.value:.0%}"
