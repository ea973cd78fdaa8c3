"""Options for the settings of Group-CAM, read from GroupCamConfig."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any, get_args

from groupcam.saliency import CHOICES, GroupCamConfig


def given_config(args: argparse.Namespace, base: GroupCamConfig) -> GroupCamConfig:
    """Return settings with the given options in their places."""
    names = {field.name for field in dataclasses.fields(GroupCamConfig)}
    given = {name: value for name, value in vars(args).items() if name in names}
    return dataclasses.replace(base, **given)


def add_config_options(group: Any) -> None:
    """Add one option for every setting. One that is not given leaves no trace in the namespace.

    Ranges are checked by GroupCamConfig.
    """
    for field in dataclasses.fields(GroupCamConfig):
        choices = CHOICES.get(field.name)
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            choices=choices,
            type=str if choices else _number_type(field.type),
            metavar=None if choices else "N",
            default=argparse.SUPPRESS,
            help=f"{field.metadata['help']} ({_range_words(field)}default: {field.default})",
        )


def _range_words(field: "dataclasses.Field[Any]") -> str:
    """Return the setting's range as the help shows it, or nothing for one that has none."""
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is None:
        return ""
    return f"from {minimum}, " if maximum is None else f"{minimum} to {maximum}, "


def _number_type(annotation: Any) -> Callable[[str], int | float | None]:
    """Return what turns an option's text into the value of a numeric setting."""
    if annotation is int:
        return int
    return _number_or_none if type(None) in get_args(annotation) else float


def _number_or_none(text: str) -> float | None:
    """Return the number, or None for the word "none"."""
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or none; got '{text}'") from None
