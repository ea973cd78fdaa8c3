"""Methods as an evaluation names them: "grad_cam", or with options "group_cam:groups=64,merge=raw".

Options are those of the method's `steps` and, for Group-CAM, the fields of its configuration.
"""

import ast
import dataclasses
import functools
import inspect
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from torch import Tensor

from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency import GroupCamConfig
from groupcam.saliency.methods import METHODS, Maps, Method
from groupcam.steps import finish

MOST_NUMBER = 2**53  # of an option: up to here floats tell whole numbers apart


@dataclass(frozen=True)
class Variant:
    """A method with options."""

    name: str  # as it was asked for
    method: Method
    options: Mapping[str, Any]  # of its steps, where they differ from their defaults

    @property
    def settings(self) -> dict[str, Any]:
        """Return all that the method is told, as plain data."""
        told = {**_defaults(self.method), **self.options}
        return {
            name: dataclasses.asdict(value) if isinstance(value, GroupCamConfig) else value
            for name, value in told.items()
        }

    def for_picture(self, name: str) -> "Variant":
        """Return what makes this picture's map.

        A random control draws anew for every picture, from its name, so that no single draw stands
        for chance. The random draws of all other methods are the same for all pictures, as they
        are wherever else a map is made.
        """
        is_drawn = self.method.kind == "control" and "seed" in _defaults(self.method)
        if not is_drawn or "seed" in self.options:
            return self
        options = {**self.options, "seed": zlib.crc32(name.encode("utf-8", "surrogateescape"))}
        return dataclasses.replace(self, options=options)

    def maps(self, backbone: Backbone, inputs: Tensor, layer: str, class_index: Tensor) -> Maps:
        """Return the maps of normalised inputs (N, 3, H, W) at a layer given by name."""
        target_layer = resolve_target_layer(backbone, layer)
        return finish(
            self.method.steps(backbone, inputs, target_layer, class_index, **self.options)
        )


def parse_variant(text: str) -> Variant:
    """Return the method that a text names.

    Raises:
        GroupCamError: there is no such method or option, or the value is of the wrong kind.
    """
    name, _, rest = text.partition(":")
    if name not in METHODS:
        raise GroupCamError(
            f"A method must be one of {', '.join(METHODS)}; got {shown(name)}."
            f"{did_you_mean(name, METHODS)}"
        )
    method = METHODS[name]
    given = dict(_parse_option(text, part) for part in rest.split(",")) if rest else {}
    defaults = _defaults(method)
    config = defaults.get("config")
    if isinstance(config, GroupCamConfig):
        kinds = get_type_hints(GroupCamConfig)
        checked = {key: _checked(text, key, value, kinds) for key, value in given.items()}
        options = {"config": dataclasses.replace(config, **checked)} if checked else {}
    else:
        kinds = {key: type(value) for key, value in defaults.items()}
        options = {key: _checked(text, key, value, kinds) for key, value in given.items()}
    return Variant(text, method, options)


def _defaults(method: Method) -> dict[str, Any]:
    """Return the method's options with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(method.steps).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _parse_option(text: str, part: str) -> tuple[str, Any]:
    """Return name and value of "name=value"; a value that is no number stays a word."""
    name, sign, value = part.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise GroupCamError(
            "Options of a method must be given as name=value, with commas between; got "
            f"{shown(text)}."
        )
    word = value.strip()
    try:
        return name.strip(), ast.literal_eval({"none": "None"}.get(word.lower(), word))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return name.strip(), word  # what is no number, or no number that can be meant


def _checked(text: str, name: str, value: Any, kinds: Mapping[str, Any]) -> Any:
    """Return an option's value as its kind asks for.

    Raises:
        GroupCamError: there is no such option, or its value is of another kind.
    """
    if name not in kinds:
        raise GroupCamError(
            f"The options in {shown(text)} must be among {', '.join(kinds) or 'none'}; got "
            f"{shown(name)}."
            f"{did_you_mean(name, kinds)}"
        )
    allowed = _plain_types(kinds[name])
    if float in allowed and type(value) is int and abs(value) < MOST_NUMBER:
        value = float(value)
    is_number = isinstance(value, int | float)
    if type(value) not in allowed or (is_number and not abs(value) < MOST_NUMBER):
        words = " or ".join(
            sorted("none" if one is type(None) else one.__name__ for one in allowed)
        )
        below = ", below 2^53" if is_number else ""
        raise GroupCamError(f"{name} in {shown(text)} must be {words}{below}; got {shown(value)}.")
    return value


@functools.cache
def _plain_types(kind: Any) -> frozenset[type]:
    """Return the types of a type hint: float | None gives both, a Literal those of its values."""
    parts = get_args(kind)
    if not parts:
        return frozenset([kind])
    if all(isinstance(part, type) for part in parts):
        return frozenset(parts)
    return frozenset(type(part) for part in parts)
