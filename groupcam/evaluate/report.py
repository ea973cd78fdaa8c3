"""The report: one HTML file that needs no other, with tables, plots and telling pictures."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import DataSet
from groupcam.evaluate.journal import Entry
from groupcam.evaluate.measures import METRICS
from groupcam.evaluate.one_picture import decode_thumbnail
from groupcam.evaluate.plots import summary_figure
from groupcam.evaluate.run import Results
from groupcam.evaluate.summary import Row, Summary
from groupcam.evaluate.tables import NOTE, Cells, comparison_rows, failure_rows, mean_rows
from groupcam.images import downscale, open_picture
from groupcam.render.heatmap import overlay

SHOWN = 4  # best pictures of a method, and as many worst ones
PICTURE_PX = 224
RANKED_BY = "over_all"  # where it was measured, else the first metric

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .7rem; text-align: left;
  vertical-align: top; }
.plot { max-width: 100%; background: #fff; }
.pictures { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr));
  margin-bottom: 1rem; }
figure { margin: 0; } figure img { border-radius: 4px; display: block; max-width: 100%; }
figcaption { font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; }
dl { display: grid; gap: .1rem 1rem; grid-template-columns: max-content 1fr; font-size: .85rem; }
dt { color: #888; } dd { margin: 0; overflow-wrap: anywhere; }
"""


def write_report(results: Results, summary: Summary, data: DataSet, path: Path) -> None:
    """Write the report.

    Args:
        results: of a finished evaluation.
        summary: of these.
        data: where the pictures are; one that is gone is shown by name only.
        path: of the HTML file.
    """
    path.write_text(report_html(results, summary, data), encoding="utf-8")


def report_html(results: Results, summary: Summary, data: DataSet) -> str:
    """Return the report's HTML; see `write_report`."""
    differences = comparison_rows(summary)
    parts = [
        "<h1>Saliency maps compared</h1>",
        f"<p>{html.escape(protocol_text(results.card))}</p>",
        f"<h2>Means</h2><p>{html.escape(NOTE)}</p>",
        _table(*mean_rows(summary)),
    ]
    if differences[1]:
        reference = html.escape(summary.reference)
        parts += [f"<h2>Compared with {reference}</h2>", _table(*differences)]
    parts += [f"<h2>Plots</h2>{_plot(summary)}", *_telling_pictures(results, summary, data)]
    parts.append(f"<h2>Failures</h2><p>{len(summary.failures)} in all.</p>")
    if summary.failures:
        parts.append(_table(*failure_rows(summary)))
    parts += ["<h2>Protocol</h2>", _card(results.card)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Saliency maps compared</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def protocol_text(card: Mapping[str, Any]) -> str:
    """Return how the numbers were made, in a few sentences."""
    settings, curves = card["settings"], card["curves"]
    pictures = (
        "1 picture" if card["data"]["pictures"] == 1 else f"{card['data']['pictures']} pictures"
    )
    half = "" if settings["half"] == "both" else f", {settings['half']} half"
    step = (
        f"at most {settings['steps']} steps"
        if settings["steps"] is not None
        else f"{curves['steps']} steps"
        if curves["pixels_per_step"] is None
        else f"{curves['pixels_per_step']} pixels a step"
    )
    explained = (
        "the network's top class" if settings["explained"] == "top" else "the labelled class"
    )
    return (
        f"{pictures} ({card['data']['kind']} folder{half}); explained is {explained}; view "
        f"'{settings['view']}'. Curves: protocol '{settings['protocol']}', insertion from "
        f"{curves['insertion']['kind']}, deletion to {curves['deletion']['kind']}, {step}. Other "
        "metrics hide pixels by zero in normalised space. A random control draws anew for every "
        "picture, from its name."
    )


def _telling_pictures(results: Results, summary: Summary, data: DataSet) -> list[str]:
    """Return a section a method with the pictures on which it did best and worst."""
    metric = RANKED_BY if RANKED_BY in summary.metrics else summary.metrics[0]
    paths = {sample.name: sample.path for sample in data.samples}
    pictures: dict[str, npt.NDArray[np.uint8] | None] = {}
    parts = [f"<h2>Best and worst pictures by {html.escape(METRICS[metric].title)}</h2>"]
    for row in summary.rows:
        ranked = _ranked(results.entries, row, metric)
        if not ranked:
            continue
        parts.append(f"<h3>{html.escape(f'{row.method}, {row.backbone}, {row.target_layer}')}</h3>")
        most = min(SHOWN, -(-len(ranked) // 2))
        for title, entries in (("Best", ranked[:most]), ("Worst", ranked[most:][-most:][::-1])):
            figures = []
            for entry in entries:
                name = entry["picture"]
                if name not in pictures:
                    pictures[name] = _picture(paths.get(name))
                figures.append(_figure(entry, row.method, metric, pictures[name]))
            if figures:
                parts.append(f'<p>{title}</p><div class="pictures">{"".join(figures)}</div>')
    return parts


def _ranked(entries: Sequence[Entry], row: Row, metric: str) -> list[Entry]:
    """Return the entries of a row that have a value, the best first."""

    def value_of(entry: Entry) -> float | None:
        value: float | None = entry["methods"][row.method].get("values", {}).get(metric)
        return value

    own = [
        entry
        for entry in entries
        if entry["backbone"] == row.backbone
        and entry.get("target_layer") == row.target_layer
        and value_of(entry) is not None
    ]
    own.sort(key=lambda entry: value_of(entry) or 0.0, reverse=METRICS[metric].better == "high")
    return own


def _picture(path: Path | None) -> npt.NDArray[np.uint8] | None:
    """Return a picture's pixels, or None where it cannot be read any more."""
    try:
        return None if path is None else open_picture(path).rgb
    except GroupCamError:
        return None


def _figure(entry: Entry, method: str, metric: str, rgb: npt.NDArray[np.uint8] | None) -> str:
    """Return one picture under its map with what is known of it."""
    found = entry["methods"][method]
    image = ""
    if rgb is not None:
        top, left, bottom, right = entry["seen_box"]
        seen = downscale(np.ascontiguousarray(rgb[top:bottom, left:right]), PICTURE_PX)
        drawn = overlay(seen, decode_thumbnail(found["map"]))
        alt = html.escape(f"Saliency map of {method} over {entry['picture']}")
        image = f'<img src="{_jpeg(drawn)}" alt="{alt}">'
    caption = (
        f"{METRICS[metric].title} {found['values'][metric]:.3f}; {entry['class_label']}, "
        f"{entry['probability']:.0%}; {entry['picture']}"
    )
    return f"<figure>{image}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _plot(summary: Summary) -> str:
    buffer = io.BytesIO()
    summary_figure(summary).savefig(buffer, format="png", dpi=150)
    return f'<img class="plot" src="{_data_uri("png", buffer)}" alt="Means and differences">'


def _table(headings: Cells, rows: Sequence[Cells]) -> str:
    def line(cells: Cells, tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

    lines = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>{line(headings, "th")}{lines}</table></div>'


def _card(card: Mapping[str, Any]) -> str:
    """Return the whole protocol card as a list of terms."""
    terms = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
        for name, value in _flat(card)
    )
    return f"<dl>{terms}</dl>"


def _flat(card: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in card.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", value))
    return found


def _jpeg(rgb: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=85)
    return _data_uri("jpeg", buffer)


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
