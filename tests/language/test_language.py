"""The sentences of all languages, and who asks for which."""

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from groupcam import language
from groupcam.language import ENGLISH, LANGUAGES, TRANSLATIONS, in_language, say, speaking, texts
from groupcam.ui.components import ASSETS

PACKAGE = Path(language.__file__).parents[1]
SAID = re.compile(r"\bsay\(\s*(f?)[\"']([^\"']+)[\"']")


def names_of(code: str) -> set[str]:
    return {f"{part}.{name}" for part, named in texts(code).items() for name in named}


def braces(text: str) -> set[str]:
    """The names that a sentence leaves to be filled in."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def asked_for() -> set[str]:
    """Every name that code, scripts and markup ask for; parts that are computed become ".*"."""
    asked = set()
    for path in PACKAGE.rglob("*.py"):
        for computed, name in SAID.findall(path.read_text(encoding="utf-8")):
            asked.add(
                re.sub(r"\\\{.*?\\\}", ".*", re.escape(name)) if computed else re.escape(name)
            )
    for path in [*ASSETS.glob("*.html"), *ASSETS.glob("*.js")]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"\[\[(\w+)\]\]", text) + re.findall(r"\bsay\(\s*\"(\w+)\"", text)
        computed_names = re.findall(r"\bsay\(\s*`([^`]+)`", text)
        found += [re.sub(r"\$\{.*?\}", ".*", name) for name in computed_names]
        asked.update(rf"{re.escape(path.stem)}\.{name}" for name in found)
    return asked


@pytest.mark.parametrize("code", TRANSLATIONS)
def test_a_translation_has_the_same_sentences_with_the_same_braces(code: str) -> None:
    assert names_of(code) == names_of(ENGLISH)
    for part, named in texts(ENGLISH).items():
        for name, text in named.items():
            assert braces(texts(code)[part][name]) == braces(text), f"{part}.{name}"


def test_every_sentence_that_is_asked_for_exists() -> None:
    names = names_of(ENGLISH)
    missing = [one for one in asked_for() if not any(re.fullmatch(one, name) for name in names)]
    assert missing == []


def test_no_sentence_is_left_over() -> None:
    asked = asked_for()
    unused = {
        name for name in names_of(ENGLISH) if not any(re.fullmatch(one, name) for one in asked)
    }
    assert unused == set()


def test_sentences_are_in_english_unless_asked_for() -> None:
    assert say("link.copy") == "Copy link"
    with speaking("de"):
        assert say("link.copy") == "Link kopieren"
    assert say("link.copy") == "Copy link"


def test_braces_are_filled_in() -> None:
    assert say("viewer.overlay", caption="cat", words="Left.") == (
        "Saliency map on the picture: cat. Left."
    )


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_generator_speaks_its_language_at_every_step_and_only_there(code: str) -> None:
    ended = []

    def steps() -> Iterator[str]:
        try:
            yield say("link.copied")
            yield say("link.copied")
        finally:
            ended.append(True)

    expected = texts(code)["link"]["copied"]
    heard = []
    for text in in_language(code, steps)():
        heard.append(text)
        assert say("link.copied") == "Copied."
    assert heard == [expected, expected]

    ended.clear()
    left = in_language(code, steps)()
    next(left)
    left.close()
    assert ended == [True]
