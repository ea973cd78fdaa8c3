"""The settings of Group-CAM: the one place where a default or a range is written.

The page's controls, the command line's options and the API all read the fields below.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.language import say

Evidence = Literal["signed", "positive"]
Grouping = Literal["contiguous", "similar", "kmeans", "agglomerative"]
Merge = Literal["raw", "normalized", "whole", "balanced"]
Precision = Literal["float32", "bfloat16"]


def _setting(
    default: Any, help_text: str, minimum: float | None = None, maximum: float | None = None
) -> Any:
    """Return a dataclass field that carries its help text, in English, and its range.

    The range includes both ends.
    """
    return field(
        default=default, metadata={"help": help_text, "minimum": minimum, "maximum": maximum}
    )


@dataclass(frozen=True)
class GroupCamConfig:
    """Settings of one Group-CAM run.

    The defaults are what was best at 32 groups on one half of an ImageNet sample; the README's
    results come from the other half.

    Raises:
        GroupCamError: a value is outside its range or not among its choices.
        TypeError: a value is not of its type.
    """

    groups: int = _setting(32, say("settings.groups_help"), 1)
    blur_sigma_px: float = _setting(50.0, say("settings.blur_sigma_px_help"), 0.1, 1000)
    blur_kernel_px: int = _setting(51, say("settings.blur_kernel_px_help"), 3, 1001)
    percentile: float | None = _setting(60.0, say("settings.percentile_help"), 0, 100)
    evidence: Evidence = _setting("positive", say("settings.evidence_help"))
    grouping: Grouping = _setting("similar", say("settings.grouping_help"))
    merge: Merge = _setting("balanced", say("settings.merge_help"))
    precision: Precision = _setting("float32", say("settings.precision_help"))

    def __post_init__(self) -> None:
        """Check every field against its type, its choices and its range."""
        _require_integer("groups", self.groups)
        _require_integer("blur_kernel_px", self.blur_kernel_px)
        _require_number("blur_sigma_px", self.blur_sigma_px)
        if self.percentile is not None:
            _require_number("percentile", self.percentile)
            if self.percentile == 100:
                raise GroupCamError(say("refused.empty_masks"))
        for setting in dataclasses.fields(self):
            _require_range(setting.name, getattr(self, setting.name), setting.metadata)
        if self.blur_kernel_px % 2 == 0:
            size = self.blur_kernel_px
            raise GroupCamError(say("refused.even_kernel", given=size, next=size + 1))
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                given = {"name": name, "given": shown(value)}
                hint = did_you_mean(shown(value), choices)
                raise GroupCamError(
                    say("refused.choice", choices=", ".join(choices), hint=hint, **given)
                )

    @classmethod
    def paper(cls) -> "GroupCamConfig":
        """Return the settings of the paper, section 4 (arXiv:2103.13859)."""
        return cls(**_PUBLISHED, percentile=70.0, merge="normalized")

    @classmethod
    def official(cls) -> "GroupCamConfig":
        """Return the settings that reproduce the authors' code (wofmanaf/Group-CAM at ffd807b).

        It skips the de-noising and merges un-normalised masks.
        """
        return cls(**_PUBLISHED, percentile=None, merge="raw")


_PUBLISHED: dict[str, Any] = {
    "groups": 32,
    "blur_sigma_px": 50.0,
    "blur_kernel_px": 51,
    "evidence": "signed",
    "grouping": "contiguous",
}

CHOICES: dict[str, tuple[str, ...]] = {
    "evidence": get_args(Evidence),
    "grouping": get_args(Grouping),
    "merge": get_args(Merge),
    "precision": get_args(Precision),
}
"""The valid values of every field that is chosen from a list."""


def _require_integer(name: str, value: object) -> None:
    """Refuse what is not a whole number; bool is an int in Python but not a setting."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(say("refused.whole_number", name=name, given=shown(value)))


def _require_number(name: str, value: object) -> None:
    """Refuse what is not a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(say("refused.number", name=name, given=shown(value)))
    if isinstance(value, float) and not math.isfinite(value):
        raise GroupCamError(say("refused.finite_number", name=name, given=value))


def _require_range(name: str, value: Any, limits: Any) -> None:
    """Refuse a number outside the field's own range."""
    minimum, maximum = limits["minimum"], limits["maximum"]
    if minimum is None or value is None:
        return
    if value < minimum or (maximum is not None and value > maximum):
        told = {"name": name, "least": minimum, "given": value}
        if maximum is None:
            raise GroupCamError(say("refused.below", **told))
        raise GroupCamError(say("refused.outside", most=maximum, **told))


PRESETS: dict[str, GroupCamConfig] = {
    "paper": GroupCamConfig.paper(),
    "official": GroupCamConfig.official(),
}
"""Named settings."""
