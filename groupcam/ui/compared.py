"""What stands side by side in a comparison: its entries, their results, the events on the way."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from groupcam.evaluate.variants import parse_variant
from groupcam.metrics import Curves
from groupcam.metrics.curves import PartialCurves
from groupcam.models import Preprocessing
from groupcam.saliency import GroupCamConfig
from groupcam.ui.forecast import takes_settings
from groupcam.ui.runs import Choice, Loading

Axis = Literal["method", "layer", "backbone", "class"]
AXES: tuple[Axis, ...] = get_args(Axis)


class Entry(NamedTuple):
    """What one card shows; hashable, so equal entries share a result."""

    method: str  # as `parse_variant` takes it
    choice: Choice  # its settings are for a method that takes them

    @property
    def key(self) -> "Entry":
        """Return the entry without settings that make no difference."""
        if takes_settings(parse_variant(self.method)):
            return self
        return self._replace(choice=self.choice._replace(config=GroupCamConfig()))


@dataclass(frozen=True, eq=False)
class Compared:
    """One method's map of one picture, and what it cost; keeps neither picture nor network."""

    entry: Entry
    preprocessing: Preprocessing
    size_hw: tuple[int, int]  # of the picture, in pixels
    target_layer: str
    class_index: int
    class_label: str
    probability: float  # of the class, for the whole picture
    saliency_map: Tensor  # float32 (H, W) in [0, 1]
    forward_passes: int
    backward_passes: int
    elapsed_s: float  # wall-clock time of the map alone: no loading, no waiting, no curves
    curves: Curves | None = None  # None until both are complete

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the picture that the network saw."""
        return self.preprocessing.box(self.size_hw, self.entry.choice.view)

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the map that lies on that box."""
        return self.preprocessing.inner(self.size_hw, self.entry.choice.view)


@dataclass(frozen=True, eq=False)
class Planned:
    """What will be done, in forward passes where they can be told."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, eq=False)
class Begun:
    """A card's network is there: what its map and its curves take at most."""

    place: int
    map_passes: int | None
    curve_passes: int


@dataclass(frozen=True)
class Mapping:
    """A card's map is being made."""

    place: int
    done: int  # forward passes
    total: int


@dataclass(frozen=True, eq=False)
class Mapped:
    """A card's map is there."""

    place: int
    result: Compared


@dataclass(frozen=True, eq=False)
class Tracing:
    """Some points of a card's curves are there."""

    place: int
    result: Compared
    points: PartialCurves


@dataclass(frozen=True, eq=False)
class Completed:
    """A card has all that it can have."""

    place: int
    result: Compared


@dataclass(frozen=True)
class Failed:
    """A card's map or curves cannot be had."""

    place: int
    reason: str


Event = Planned | Loading | Begun | Mapping | Mapped | Tracing | Completed | Failed
Events = Generator[Event, None, None]
