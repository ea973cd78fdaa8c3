"""The printable sheet and its answers in every language: all lessons, nothing fetched, a page."""

import html
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from groupcam.language import LANGUAGES, say, speaking
from groupcam.saliency import GroupCamConfig
from groupcam.share.lessons import LESSONS
from groupcam.share.sheet import answers_of, sheet_of
from tests.chromium import launched_chromium


@pytest.fixture(scope="module", autouse=True, params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    """The language that is spoken while a test runs."""
    with speaking(request.param):
        yield request.param


@pytest.fixture(scope="module")
def sheet(language: str) -> str:
    noise = np.random.default_rng(0)
    seen: dict[str, npt.NDArray[np.uint8]] = {
        name: noise.integers(0, 256, (224, 224, 3), dtype=np.uint8)
        for lesson in LESSONS
        for name in lesson.examples
    }
    return sheet_of(seen)


@pytest.fixture(scope="module")
def answers(language: str) -> str:
    return answers_of()


def test_both_tell_their_language(sheet: str, answers: str, language: str) -> None:
    assert f'<html lang="{language}">' in sheet
    assert f'<html lang="{language}">' in answers


def test_the_sheet_asks_and_the_answers_tell(sheet: str, answers: str) -> None:
    questions, answers = html.unescape(sheet), html.unescape(answers)

    for lesson in LESSONS:
        assert lesson.question in questions
        assert all(option.text in questions for option in lesson.options)
        letter = "ABCD"[lesson.right]
        assert f"{letter}. {lesson.options[lesson.right].text}" in answers
        assert lesson.answer[0] in answers
        assert lesson.answer[0] not in questions
    assert questions.count("<img") == sum(len(lesson.examples) for lesson in LESSONS)
    assert questions.count(say("sheet.because")) == len(LESSONS)


def test_the_method_is_the_default_one(sheet: str) -> None:
    config = GroupCamConfig()

    assert sheet.count('class="formula"') == 6
    assert re.search(rf"[Pp]er[cz]ent\w+ {config.percentile:g}\b", sheet)
    # What the formulas and sentences on the sheet say in words.
    assert (config.evidence, config.grouping, config.merge) == ("positive", "similar", "balanced")


def test_they_fetch_and_run_nothing(sheet: str, answers: str) -> None:
    for text in (sheet, answers):
        assert not re.search(r'(?:src|href)="(?!data:)', text)
        assert "<script" not in text
        assert "default-src 'none'" in text


@pytest.mark.browser
def test_each_prints_on_one_page_of_a4(sheet: str, answers: str) -> None:
    with launched_chromium() as browser:
        page = browser.new_page()
        for text in (sheet, answers):
            page.set_content(text)
            printed = page.pdf(prefer_css_page_size=True)

            assert re.findall(rb"/Count (\d+)", printed) == [b"1"]
            assert re.search(rb"/MediaBox \[0 0 59[45][.\d]* 84[12]", printed)  # A4 in points
