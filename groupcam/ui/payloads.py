"""What a visitor's browser sends with an event, which anybody may have made up.

Gradio hands raw values on as they came. Whatever is kept, repeated or used as a name is checked
here first.
"""

import functools
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.ui.toasts import refusal

MOST_CHARACTERS = 200  # of a name: the longest known has 44
MOST_NUMBER = 2**53  # up to here JSON's numbers are exact
NO_TEXT = ("Cc", "Cs")  # control characters; halves of a letter, which no answer can carry

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def payload_of(event: gr.EventData) -> dict[str, Any]:
    """Return what a component's script sent with its event; {}: nothing that it could be."""
    return event._data if isinstance(event._data, dict) else {}


def serial_of(payload: dict[str, Any]) -> int | None:
    """Return the number by which a script knows the answer to its question.

    Nothing else is sent back: of a file's description Gradio would make a file.
    """
    serial = payload.get("serial")
    return serial if isinstance(serial, int) and abs(serial) < MOST_NUMBER else None


def checked_text(name: str, value: Any) -> str:
    """Return a value that must be a short text; nothing counts as an empty one.

    Raises:
        GroupCamError: it is of another type, too long, or has letters that cannot be shown.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise GroupCamError(f"{name} must be a text; got {shown(value)}.")
    if len(value) > MOST_CHARACTERS:
        raise GroupCamError(
            f"{name} must have at most {MOST_CHARACTERS} characters; got {len(value):,}."
        )
    if any(unicodedata.category(letter) in NO_TEXT for letter in value):
        raise GroupCamError(f"{name} must have letters that can be shown; got {shown(value)}.")
    return value


def check_controls(values: Iterable[Any]) -> None:
    """Check the values of controls before they are kept: each a text, a number or nothing.

    Raises:
        GroupCamError: a value is none of these, or too long.
    """
    for value in values:
        if isinstance(value, int | float):
            if abs(value) >= MOST_NUMBER:
                raise GroupCamError(f"A number must be below 2^53; got {shown(value)}.")
        else:
            checked_text("A control's value", value)


def told(callback: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Return an event's callback that tells its visitor in a sentence what cannot be."""

    @functools.wraps(callback)
    def telling(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            return callback(*args, **kwargs)
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            raise refusal(str(error)) from error

    return telling
