"""The errors that groupcam raises on purpose, and the help they give with misspelt names."""

import difflib
import reprlib
from collections.abc import Iterable, Sequence

from groupcam.language import say


class GroupCamError(ValueError):
    """Something the user can fix: the message says what must hold, what was given, what to do."""


class WeightsUnavailableError(RuntimeError):
    """Weights could not be had here and now: no hub reached, a download broken off, a disk full."""


class Cancelled(Exception):  # noqa: N818 - it is no error
    """Somebody no longer wants the result.

    For the `progress` functions of a caller to raise: it passes through as it is.
    """


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: object) -> str:
    """Return a value as messages show it: like repr, but short, however long or deep it is."""
    return _SHORT.repr(value)


def nearest(name: str, choices: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to `limit` of the choices that look most like `name`, best first."""
    by_lower_case: dict[str, str] = {}
    for choice in choices:
        by_lower_case.setdefault(choice.lower(), choice)
    matches = difflib.get_close_matches(name.lower(), by_lower_case, n=limit, cutoff=0.5)
    return [by_lower_case[match] for match in matches]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return " Did you mean 'a' or 'b'?" with the nearest choices, or "" when none is near."""
    names = [f"'{match}'" for match in nearest(name, choices)]
    if not names:
        return ""
    return say("refused.did_you_mean", names=alternatives(names))


def alternatives(names: Sequence[str]) -> str:
    """Return "a, b or c" in the present language."""
    *others, last = names
    return f"{', '.join(others)} {say('refused.or')} {last}" if others else last
