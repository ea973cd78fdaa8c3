"""The lessons on paper: the questions for a class, and the answers for who teaches it.

Each is one self-contained HTML file of one A4 page, in the language that is spoken when it is made.
"""

from collections.abc import Mapping
from html import escape

import numpy as np
import numpy.typing as npt

from groupcam.language import present_language, say
from groupcam.saliency import GroupCamConfig
from groupcam.share.html import picture_uri
from groupcam.share.lessons import LESSONS, Lesson, picture_caption

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
.answer { break-inside: avoid; border-top: .2mm solid #ccc; margin-top: 3mm; padding-top: 2.4mm; }
svg { max-width: 100%; }
"""

# Symbols as HTML: k is a channel, g a group.
_WEIGHT, _CHANNEL = "<i>w</i><sub>k</sub>", "<i>A</i><sub>k</sub>"
_MASK, _DENOISED = "<i>M</i><sub>g</sub>", "<i>M&prime;</i><sub>g</sub>"
_MASKED, _SCORE = "<i>X</i><sub>g</sub>", "<i>&alpha;</i><sub>g</sub>"


def sheet_of(seen: Mapping[str, npt.NDArray[np.uint8]]) -> str:
    """Return the sheet as HTML: the method, the questions and room to write.

    Args:
        seen: each example's picture as the network sees it, uint8 (H, W, 3), by its name.
    """
    tasks = "".join(_task(number, lesson, seen) for number, lesson in enumerate(LESSONS, 1))
    title, name = say("sheet.title"), escape(say("sheet.name"))
    head = f'<div class="head"><h1>{escape(title)}</h1><div class="name">{name}</div></div>'
    return _document(title, f"{head}\n{_method()}\n{tasks}")


def answers_of() -> str:
    """Return the answers to the sheet's questions as HTML."""
    title = say("sheet.answers", title=say("sheet.title"))
    answers = "".join(_answer(number, lesson) for number, lesson in enumerate(LESSONS, 1))
    note = f'<p class="quiet">{escape(say("sheet.true_for"))}</p>'
    return _document(title, f"<h1>{escape(title)}</h1>{note}\n{answers}")


def _document(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="{present_language()}"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _method() -> str:
    """Return the six steps of Group-CAM."""
    steps = "".join(
        f'<li><b>{number} {name}</b>{text}<span class="formula">{formula}</span></li>'
        for number, (name, text, formula) in enumerate(_steps(), 1)
    )
    note = say(
        "sheet.method_note",
        p="<i>p</i>",
        denoised="<i>M&prime;</i>",
        merged="<i>S</i>",
        mask="<i>M</i>",
    )
    return f'<ol class="method">{steps}</ol><p class="quiet">{note}</p>'


def _steps() -> tuple[tuple[str, str, str], ...]:
    """Return each step's name, what it does and its formula, as HTML."""
    members = say("sheet.members")
    total = f"Σ<sub>g</sub> {_SCORE} <i>S</i><sub>g</sub>"
    return (
        (
            say("sheet.channels"),
            say("sheet.channels_text", channel="<i>A</i>", score="<i>y</i>"),
            say("sheet.channels_formula", weight=_WEIGHT, gradient=f"∂<i>y</i>/∂{_CHANNEL}"),
        ),
        (
            say("sheet.groups"),
            say("sheet.groups_text"),
            f"{_MASK} = Σ<sub>{members}</sub> max(0, {_WEIGHT}{_CHANNEL})",
        ),
        (
            say("sheet.denoise"),
            say("sheet.denoise_text"),
            say(
                "sheet.denoise_formula",
                denoised=_DENOISED,
                mask=_MASK,
                percentile=GroupCamConfig().percentile,
            ),
        ),
        (
            say("sheet.mask"),
            say("sheet.mask_text"),
            say("sheet.mask_formula", masked=_MASKED, mask=_DENOISED),
        ),
        (
            say("sheet.score"),
            say("sheet.score_text"),
            say("sheet.score_formula", score=_SCORE, p="<i>p</i>", masked=_MASKED),
        ),
        (
            say("sheet.map"),
            say("sheet.map_text"),
            say("sheet.map_formula", map="<i>L</i>", total=total),
        ),
    )


def _task(number: int, lesson: Lesson, seen: Mapping[str, npt.NDArray[np.uint8]]) -> str:
    """Return a question with its pictures, its options and room to write."""
    options = "".join(
        f"<li>{letter}. {escape(option.text)}</li>"
        for letter, option in zip(_LETTERS, lesson.options, strict=False)
    )
    pictures = "".join(
        f'<img src="{picture_uri(seen[name])}" alt="{escape(picture_caption(name))}">'
        for name in lesson.examples
    )
    because = escape(say("sheet.because"))
    lines = "".join(f'<div class="line">{text}</div>' for text in (because, *[""] * (_LINES - 1)))
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
