"""Links: all that makes a result except the picture itself, as the query of the page's address.

A link is short: what is as it is by default is left out. Whatever it says is a stranger's word, so
it is checked here or where it is used, and no name in it is opened as a file.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.language import say
from groupcam.models import DEFAULT_BACKBONE, View
from groupcam.saliency import GroupCamConfig
from groupcam.ui.components import EXAMPLES, checked_settings
from groupcam.ui.payloads import MOST_CHARACTERS, checked_text
from groupcam.ui.present import DEFAULT_WEIGHTS

NONE = "none"
# What a field is called in an address; there "view" belongs to Gradio, whose own pages it opens.
SHORT = {"class_name": "class", "target_layer": "layer", "input_size": "input", "view": "fit"}


@dataclass(frozen=True)
class Opening:
    """What the page is to show: the shared controls and the picture."""

    example: str | None = None  # the stem of one in assets/examples; None: the present picture
    backbone: str = DEFAULT_BACKBONE
    weights: str = DEFAULT_WEIGHTS  # a tag, "default" or "random"
    input_size: str = ""  # pixels; "": the weights' own
    target_layer: str = ""  # "": the default
    class_name: str = ""  # "": the top class
    view: View = "crop"
    config: GroupCamConfig = GroupCamConfig()
    tab: str = ""  # "": the one that is open

    def __post_init__(self) -> None:
        """Check what needs no backbone."""
        if self.example is not None and self.example not in example_names():
            names = example_names()
            given = shown(self.example)[1:-1]
            text = say("link.unknown_example", names=", ".join(names), given=given)
            raise GroupCamError(f"{text}{did_you_mean(self.example, names)}")


def example_names() -> list[str]:
    """Return the names of the bundled pictures."""
    return [path.stem for path in EXAMPLES]


def link_names() -> list[str]:
    """Return every name that a link of ours may have in its query."""
    return [*_names(), *(field.name for field in dataclasses.fields(GroupCamConfig))]


def query_of(opening: Opening) -> str:
    """Return the query, without a question mark, that `opening_of` reads; "" for all defaults."""
    plain, config = Opening(), GroupCamConfig()
    parts: dict[str, Any] = {}
    for name, field_name in _names().items():
        value = getattr(opening, field_name)
        if value != getattr(plain, field_name):
            parts[name] = value
    for field in dataclasses.fields(GroupCamConfig):
        value = getattr(opening.config, field.name)
        if value != getattr(config, field.name):
            # Every digit that tells the number from others, but no ".0".
            parts[field.name] = NONE if value is None else str(value).removesuffix(".0")
    return urlencode(parts)


def opening_of(query: Mapping[str, str]) -> Opening | None:
    """Return what an address asks for; None: nothing. Names that are not ours are passed over.

    Raises:
        GroupCamError: a value is out of range, not among its choices or too long.
    """
    names = _names()
    settings = {field.name: field for field in dataclasses.fields(GroupCamConfig)}
    told: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for name, value in query.items():
        if name not in names and name not in settings:
            continue
        if len(value) > MOST_CHARACTERS:
            text = say("link.too_long", name=name, most=MOST_CHARACTERS, given=len(value))
            raise GroupCamError(text)
        checked_text(f"In a link '{name}'", value)
        if name in names:
            told[names[name]] = value
        else:
            config[name] = _setting(name, value, settings[name].default)
    if not told and not config:
        return None
    view, checked = checked_settings(
        told.pop("view", "crop"), dataclasses.asdict(GroupCamConfig()) | config
    )
    return Opening(**told, view=view, config=checked)


def _names() -> dict[str, str]:
    """Return the field of `Opening` behind each name in an address, but for the settings."""
    fields = (field.name for field in dataclasses.fields(Opening) if field.name != "config")
    return {SHORT.get(name, name): name for name in fields}


def _setting(name: str, text: str, default: Any) -> Any:
    """Return a setting's value from the text in a link."""
    if isinstance(default, str):
        return text
    if text == NONE:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise GroupCamError(say("link.no_number", name=name, given=shown(text)[1:-1]))
    return number
