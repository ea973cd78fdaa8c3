"""The lessons on paper: one self-contained HTML file of two A4 pages, questions and answers."""

from collections.abc import Mapping
from html import escape

import numpy as np
import numpy.typing as npt

from groupcam.saliency import GroupCamConfig
from groupcam.share.html import picture_uri
from groupcam.share.lessons import LESSONS, PICTURES, Lesson

TITLE = "Where does the network look?"
_LINES = 2  # to write on, under each question
_LETTERS = "ABCD"  # of the options

_STYLE = """
@page { size: A4 portrait; margin: 10mm 13mm; }
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { background: #fff; color: #222; font: 8.7pt/1.3 system-ui, "DejaVu Sans", sans-serif;
  margin: 0 auto; max-width: 184mm; padding: 4mm 0; }
@media print { body { padding: 0; } }
h1 { font-size: 15pt; line-height: 1.2; margin: 0; }
h2 { font-size: 10.5pt; margin: 0 0 1mm; }
p { margin: 0 0 1mm; }
.quiet { color: #595959; font-size: 8pt; }
.head { align-items: end; display: grid; gap: 6mm; grid-template-columns: 1fr auto; }
.name { border-bottom: .3mm solid #888; min-width: 62mm; padding-bottom: .6mm; }
.method { display: grid; gap: 2mm; grid-template-columns: repeat(6, 1fr); list-style: none;
  margin: 2.5mm 0 1mm; padding: 0; }
.method li { border: .3mm solid #bbb; border-radius: 1mm; font-size: 7.2pt; line-height: 1.32;
  padding: 1.2mm 1.4mm; position: relative; }
.method li + li::before { color: #595959; content: "\\203a"; font-size: 11pt; left: -2.1mm;
  position: absolute; top: 6mm; }
.method b { display: block; font-size: 8pt; }
.method .formula { display: block; margin-top: .8mm; }
.task { break-inside: avoid; display: grid; gap: 0 4mm; grid-template-columns: 27mm 1fr;
  margin-top: 2mm; border-top: .2mm solid #ccc; padding-top: 1.6mm; }
.task img { display: block; margin-bottom: 1mm; width: 27mm; }
.task .two img { width: 18mm; }
sub { line-height: 0; }
.task h2, .answer h2 { font-size: 9.5pt; }
.task ul { list-style: none; margin: 0 0 1mm; padding: 0; }
.task li { padding-left: 5mm; position: relative; }
.task li::before { border: .3mm solid #444; content: ""; height: 2.7mm; left: 0; position: absolute;
  top: .8mm; width: 2.7mm; }
.line { border-bottom: .2mm solid #aaa; color: #595959; font-size: 8pt; height: 6.2mm;
  padding-top: 1.8mm; }
.answers { break-before: page; }
.answer { break-inside: avoid; border-top: .2mm solid #ccc; margin-top: 3mm; padding-top: 2.4mm; }
svg { max-width: 100%; }
"""

# One step of the method each: its name, what it does, its formula as HTML.
_METHOD = (
    (
        "Channels",
        "How much does each channel <i>A</i> speak for the class score <i>y</i>?",
        "<i>w</i><sub>k</sub> = mean of ∂<i>y</i>/∂<i>A</i><sub>k</sub>",
    ),
    (
        "Groups",
        "Channels that light up alike go together.",
        "<i>M</i><sub>g</sub> = Σ<sub>k in g</sub> max(0, "
        "<i>w</i><sub>k</sub><i>A</i><sub>k</sub>)",
    ),
    (
        "De-noise",
        "Only the strongest cells stay.",
        "<i>M&prime;</i><sub>g</sub> = <i>M</i><sub>g</sub> where above percentile "
        "{percentile:g}, else 0",
    ),
    (
        "Mask",
        "Show what the mask lets through, blur the rest.",
        "<i>X</i><sub>g</sub> = <i>M&prime;</i><sub>g</sub>·picture + "
        "(1 − <i>M&prime;</i><sub>g</sub>)·blur",
    ),
    (
        "Score",
        "Ask the network again: what does the mask gain?",
        "<i>&alpha;</i><sub>g</sub> = max(0, <i>p</i>(<i>X</i><sub>g</sub>) − <i>p</i>(blur))",
    ),
    (
        "Map",
        "Add all masks up, each as strong as its score.",
        "<i>L</i> = scale(Σ<sub>g</sub> <i>&alpha;</i><sub>g</sub> <i>S</i><sub>g</sub>)",
    ),
)
_METHOD_NOTE = (
    "<i>p</i>: probability of the class. <i>M&prime;</i> is scaled to 0..1 before it is used. "
    "<i>S</i>: <i>M</i> scaled to 0..1; it counts less where many masks overlap. Group-CAM (Zhang, "
    "Rao and Yang 2021, arXiv:2103.13859) with groupcam's default settings."
)


def sheet_of(seen: Mapping[str, npt.NDArray[np.uint8]]) -> str:
    """Return the sheet as HTML: the questions on the first page, the answers on the second.

    Args:
        seen: each example's picture as the network sees it, uint8 (H, W, 3), by its name.
    """
    tasks = "".join(_task(number, lesson, seen) for number, lesson in enumerate(LESSONS, 1))
    answers = "".join(_answer(number, lesson) for number, lesson in enumerate(LESSONS, 1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(TITLE)}</title><style>{_STYLE}</style></head>\n<body>\n"
        f'<div class="head"><h1>{escape(TITLE)}</h1><div class="name">Name:</div></div>\n'
        f"{_method()}\n{tasks}\n"
        '<section class="answers"><h1>Answers</h1>'
        '<p class="quiet">True for EfficientNet-Lite0 with its ImageNet weights and the example '
        "pictures. The numbers of each run are in the tab “Lessons”.</p>"
        f"{answers}</section>\n</body></html>\n"
    )


def _method() -> str:
    """Return the six steps of Group-CAM."""
    percentile = GroupCamConfig().percentile
    steps = "".join(
        f"<li><b>{number} {name}</b>{text}"
        f'<span class="formula">{formula.format(percentile=percentile)}</span></li>'
        for number, (name, text, formula) in enumerate(_METHOD, 1)
    )
    return f'<ol class="method">{steps}</ol><p class="quiet">{_METHOD_NOTE}</p>'


def _task(number: int, lesson: Lesson, seen: Mapping[str, npt.NDArray[np.uint8]]) -> str:
    """Return a question with its pictures, its options and room to write."""
    options = "".join(
        f"<li>{letter}. {escape(option.text)}</li>"
        for letter, option in zip(_LETTERS, lesson.options, strict=False)
    )
    pictures = "".join(
        f'<img src="{picture_uri(seen[name])}" alt="{escape(PICTURES[name])}">'
        for name in lesson.examples
    )
    lines = "".join(
        f'<div class="line">{text}</div>' for text in ("I think so because", *[""] * (_LINES - 1))
    )
    kind = "one" if len(lesson.examples) == 1 else "two"
    return (
        f'<section class="task"><div class="{kind}">{pictures}</div>'
        f"<div><h2>{number}. {escape(lesson.title)}</h2><p>{escape(lesson.question)}</p>"
        f"<ul>{options}</ul>{lines}</div></section>"
    )


def _answer(number: int, lesson: Lesson) -> str:
    """Return the right option and why."""
    letter, option = _LETTERS[lesson.right], lesson.options[lesson.right]
    words = " ".join(lesson.answer)
    return (
        f'<section class="answer"><h2>{number}. {escape(lesson.title)}</h2>'
        f"<p><b>{letter}. {escape(option.text)}</b> {escape(option.reply)}</p>"
        f"<p>{escape(words)}</p></section>"
    )
