"""What the page says, in the visitor's language.

Every sentence stands once, in en.toml, under a section for the part of the page and a name for the
sentence; the same places in the other files hold the translations. `say` looks one up in the
language of the page that asks, so code and scripts know names only.
"""

import contextlib
import contextvars
import functools
import inspect
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ENGLISH = "en"
TRANSLATIONS = {"de": "Deutsch"}
LANGUAGES = {ENGLISH: "English", **TRANSLATIONS}  # each by its own name

_current = contextvars.ContextVar("language", default=ENGLISH)


@functools.cache
def texts(language: str) -> dict[str, dict[str, str]]:
    """Return all sentences of a language, by section and name."""
    path = Path(__file__).with_name(f"{language}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def say(name: str, /, **values: Any) -> str:
    """Return a sentence in the present language.

    Args:
        name: "section.name", as in en.toml.
        values: what stands in its braces; "{share:.1%}" formats as `str.format` does.
    """
    part, _, key = name.partition(".")
    text = texts(_current.get())[part][key]
    return text.format(**values) if values else text


def section(name: str) -> dict[str, str]:
    """Return all sentences of one section in the present language, for a script of that name."""
    return texts(_current.get()).get(name, {})


def present_language() -> str:
    """Return the code of the language that is spoken now."""
    return _current.get()


@contextlib.contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak a language inside a `with` block."""
    before = _current.set(language)
    try:
        yield
    finally:
        _current.reset(before)


def in_language(language: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function, or generator function, that speaks a language whenever it works."""
    if not inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def speaker(*args: Any, **kwargs: Any) -> Any:
            with speaking(language):
                return function(*args, **kwargs)

        return speaker

    @functools.wraps(function)
    def speakers(*args: Any, **kwargs: Any) -> Iterator[Any]:
        steps = function(*args, **kwargs)
        with contextlib.closing(steps):
            while True:
                # Not across the yield: the next step may come in another thread and context.
                with speaking(language):
                    try:
                        step = next(steps)
                    except StopIteration:
                        return
                yield step

    return speakers
