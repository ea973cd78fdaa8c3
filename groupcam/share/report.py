"""One result on one page: a self-contained HTML file that prints on a sheet of A4."""

import dataclasses
import shlex
from collections.abc import Sequence
from html import escape

from groupcam.images import downscale
from groupcam.render.figures import groups_by_weight, mask_caption, shortened
from groupcam.render.heatmap import masked_tile, overlay
from groupcam.saliency.diagnosis import percent
from groupcam.share.again import command_of, python_of
from groupcam.share.curves import figure_of
from groupcam.share.html import inline_svg, picture_figure
from groupcam.share.record import Record, manifest_of

GROUPS_SHOWN = 8
_PICTURE_PX = 640
_TILE_PX = 160
_LONGEST_LABEL = 60  # characters; the manifest has all of them

_STYLE = """
@page { size: A4 portrait; margin: 11mm; }
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { background: #fff; color: #222; font: 8pt/1.32 system-ui, "DejaVu Sans", sans-serif;
  margin: 0 auto; max-width: 188mm; padding: 4mm 0; }
@media print { body { padding: 0; } }
h1 { font-size: 14pt; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { border-bottom: .3mm solid #ddd; font-size: 9.5pt; margin: 3mm 0 1.5mm; }
p { margin: .6mm 0; overflow-wrap: anywhere; }
.quiet { color: #595959; }
.note { background: #fff4e5; border-left: 1mm solid #d55e00; padding: 1mm 2mm; }
.two { display: grid; gap: 0 5mm; grid-template-columns: 1fr 1fr; }
.facts { grid-template-columns: 2fr 3fr; }
.pictures { margin-top: 2mm; }
figure { margin: 0; text-align: center; }
figure img { display: inline-block; max-width: 100%; vertical-align: top; }
figcaption { color: #595959; font-size: 7.4pt; line-height: 1.25; padding-top: .6mm;
  overflow-wrap: anywhere; }
.pictures img { max-height: var(--tall); }
.groups { display: grid; gap: 1.5mm; grid-template-columns: repeat(4, 1fr); }
.groups img { max-height: 24mm; }
.curves svg { display: block; height: auto; width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
td { border-bottom: .2mm solid #eee; overflow-wrap: anywhere; padding: .35mm 1mm .35mm 0;
  vertical-align: top; }
td:first-child { color: #595959; padding-right: 2mm; white-space: nowrap; width: 1%; }
pre { background: #f5f5f5; font: 7.2pt/1.4 ui-monospace, "DejaVu Sans Mono", monospace;
  margin: 1mm 0; overflow-wrap: anywhere; padding: 1.2mm 1.8mm; white-space: pre-wrap; }
/* A line ends between the words of the command, not inside of an option. */
pre span { display: inline-block; max-width: 100%; }
"""

Rows = Sequence[tuple[str, str]]


def report_of(record: Record, *, color_map: str, opacity: float) -> str:
    """Return the report as HTML. All that a user or a model hub can name is escaped.

    Args:
        record: the result.
        color_map: see `groupcam.render.heatmap.overlay`.
        opacity: see `groupcam.render.heatmap.overlay`.
    """
    explanation, network = record.explanation, record.network
    label = shortened(explanation.class_label, _LONGEST_LABEL)
    title = f"Where {network.name} looks for “{label}”"
    notes = [
        text
        for text in (explanation.blank_reason, network.caveat, *record.picture.notes)
        if text is not None
    ]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">{escape(_summary(record))}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        # Every note takes its room from the pictures, so that all stays on one sheet.
        _pictures(record, color_map, opacity, max(30, 60 - 9 * len(notes))),
        '<div class="two"><div>',
        _groups(record),
        "</div><div>",
        _curves(record),
        "</div></div>",
        '<div class="two facts"><div><h2>Numbers</h2>',
        _table(_numbers(record)),
        "</div><div><h2>Settings</h2>",
        _table(_settings(record)),
        "</div></div>",
        _again(record),
    ]
    # The policy is a second lock: even a text that escaped its escaping could fetch or run nothing.
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


def _summary(record: Record) -> str:
    """Return what was explained, in one sentence."""
    explanation = record.explanation
    name = shortened(record.picture_name, _LONGEST_LABEL)
    return (
        f"Group-CAM of {name}: probability {explanation.probability:.1%}, layer "
        f"{explanation.target_layer}, {explanation.config.groups} groups, "
        f"{explanation.forward_passes} forward passes."
    )


def _pictures(record: Record, color_map: str, opacity: float, height_mm: int) -> str:
    """Return the part of the picture that the network saw beside its overlay."""
    seen = downscale(record.seen, _PICTURE_PX)
    drawn = seen
    what = "Where the network looks: blank"
    if record.explanation.blank_reason is None:
        drawn = overlay(seen, record.seen_map, color_map=color_map, opacity=opacity)
        what = f"Where the network looks ({color_map}: bright is 1, dark is 0)"
    whole = record.picture.rgb.shape[:2] == record.seen.shape[:2]
    shown = "The picture" if whole else "The part of the picture that the network saw"
    both = picture_figure(seen, shown) + picture_figure(drawn, what)
    return f'<div class="two pictures" style="--tall: {height_mm}mm">{both}</div>'


def _groups(record: Record) -> str:
    """Return the heaviest groups as pictures seen through their masks."""
    explanation = record.explanation
    weights = explanation.group_weights.numpy()
    best = groups_by_weight(weights)[:GROUPS_SHOWN]
    seen = downscale(record.seen, _TILE_PX)
    masks, masked = record.seen_masks, explanation.masked_probability
    tiles = [
        picture_figure(
            masked_tile(seen, masks[group]),
            mask_caption(group, float(weights[group]), is_empty=not masks[group].any())
            + f", p {percent(float(masked[group]), is_short=True)}",
        )
        for group in best
    ]
    more = "" if len(weights) == len(best) else f" of {len(weights)}"
    return (
        f"<h2>The {len(best)} heaviest{more} groups</h2>"
        '<p class="quiet">Weight: how much the mask raises the probability above that of the '
        f"blurred picture, {escape(percent(explanation.baseline_probability, is_short=True))}. "
        f'p: the probability through the mask.</p><div class="groups">{"".join(tiles)}</div>'
    )


def _curves(record: Record) -> str:
    """Return the insertion and deletion curves."""
    heading = "<h2>Insertion and deletion</h2>"
    if record.curves is None:
        return f'{heading}<p class="quiet">Not computed.</p>'
    figure = figure_of(record.curves, record.explanation.class_label)
    return f'{heading}<div class="curves">{inline_svg(figure)}</div>'


def _numbers(record: Record) -> Rows:
    """Return what came out."""
    explanation, curves = record.explanation, record.curves
    weights = explanation.group_weights
    facts = manifest_of(record)
    rows = [
        (
            f"{place}. class",
            f"{shortened(one['label'], 40)} ({one['index']}): {one['probability']:.2%}",
        )
        for place, one in enumerate(facts["top_classes"], 1)
    ]
    rows += [
        (
            "explained class",
            f"{shortened(explanation.class_label, 40)} ({explanation.class_index})",
        ),
        ("groups with a weight", f"{int((weights > 0).sum())} of {len(weights)}"),
        ("forward passes", str(explanation.forward_passes)),
    ]
    if curves is not None:
        rows += [
            ("insertion AUC", f"{curves.insertion_auc:.4f} (higher is better)"),
            ("deletion AUC", f"{curves.deletion_auc:.4f} (lower is better)"),
            ("over-all", f"{curves.over_all:.4f} (insertion − deletion)"),
        ]
    return rows


def _settings(record: Record) -> Rows:
    """Return what it was made with."""
    network, config = record.network, record.explanation.config
    height, width = network.preprocessing.input_size
    tag = manifest_of(record)["network"]["weights"]["tag"]
    weights = f"{network.weights.source} {tag}".strip()
    if network.weights.sha256 is not None:
        weights += f", SHA-256 {network.weights.sha256}"
    settings = (
        f"{name.replace('_', ' ')} {'none' if value is None else value}"
        for name, value in dataclasses.asdict(config).items()
    )
    rows = [
        ("backbone", f"{network.name}, input {height} × {width}, view {record.view}"),
        ("weights", weights),
        ("picture SHA-256", record.picture_sha256),
        ("Group-CAM", ", ".join(settings)),
    ]
    if record.curves is not None:
        protocol = record.curves.protocol
        rows.append(
            (
                "curves",
                f"{len(record.curves.fractions) - 1} steps of {protocol.pixels_per_step} pixels, "
                f"insertion from {protocol.insertion_baseline}, deletion to "
                f"{protocol.deletion_baseline}",
            )
        )
    versions = manifest_of(record)["versions"]
    rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    return rows


def _again(record: Record) -> str:
    """Return how to make the result again."""
    command = command_of(record)
    parts = [
        "<h2>Make it again</h2>",
        '<p class="quiet">In the folder where the picture is, on the command line or in Python:'
        "</p>",
    ]
    if command is not None:
        words = [escape(shlex.quote(word)) for word in shlex.split(command)]
        parts.append(f"<pre>{' '.join(f'<span>{word}</span>' for word in words)}</pre>")
    parts.append(f"<pre>{escape(python_of(record))}</pre>")
    return "".join(parts)


def _table(rows: Rows) -> str:
    """Return a table of names and values."""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows
    )
    return f"<table>{lines}</table>"
