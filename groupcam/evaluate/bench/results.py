"""What the bench measured, and the file that keeps it."""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groupcam.errors import GroupCamError

DEFAULT_BACKBONES = (
    "timm/tf_efficientnet_lite0",
    "timm/resnet50",
    "timm/convnext_tiny",
    "timm/vit_tiny_patch16_224",
    "timm/swin_tiny_patch4_window7_224",
)


@dataclass(frozen=True)
class BenchSettings:
    """What is measured."""

    backbones: tuple[str, ...] = DEFAULT_BACKBONES
    repeats: int = 5
    groups: tuple[int, ...] = (8, 16, 32, 64, 128, 256)  # of the growth with G
    sizes: tuple[int, ...] = (224, 384, 512, 768, 1024)  # of the growth with the picture
    device: str = "cpu"
    quick: bool = False  # no growth, no memory, no other packages
    pictures: tuple[str, ...] = ()  # files; a made-up picture without


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one contender, in the order of the rounds."""

    seconds: tuple[float, ...]
    peak_mib: float | None = None  # None: not measured

    @property
    def median_s(self) -> float:
        """Return the median over the rounds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """How many times longer one contender takes than another."""

    median: float
    low: float
    high: float


def ratio(slow: Timing, fast: Timing) -> Ratio:
    """Return the ratio of two contenders, round by round.

    One that ran only once is compared with the other's median.
    """
    if len(slow.seconds) == len(fast.seconds):
        pairs = zip(slow.seconds, fast.seconds, strict=True)
        ratios = [first / second for first, second in pairs]
    else:
        ratios = [second / fast.median_s for second in slow.seconds]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class NetworkBench:
    """One network at its own input size."""

    backbone: str
    weights: str
    input_size: tuple[int, int]
    target_layer: str
    groups: int
    forward_passes: int  # of ours: dead groups cost none
    gflop: float  # of one forward pass
    plan: str  # how ours runs when prepared
    prepare_s: float
    floor: str  # what the bare forwards run by
    maps: Mapping[str, Timing]
    curves: Mapping[str, Timing]
    curve_points: int


@dataclass(frozen=True)
class GrowthPoint:
    """The first network with another number of groups or size of picture."""

    backbone: str
    groups: int
    size: int
    maps: Mapping[str, Timing]
    left_out: str | None = None  # why this point, or the plain form in it, was not measured


@dataclass(frozen=True)
class BenchResults:
    """All that is saved."""

    measured: str  # date
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]
    settings: BenchSettings
    networks: tuple[NetworkBench, ...] = ()
    growth: tuple[GrowthPoint, ...] = ()


def save_results(results: BenchResults, path: Path) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n", encoding="utf-8")


def load_results(path: Path) -> BenchResults:
    """Return what `save_results` wrote.

    Raises:
        GroupCamError: there is no such file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GroupCamError(
            f"Bench results must be a file that the bench wrote; got '{path}' ({error})."
        ) from error

    def timings(entries: Mapping[str, Any]) -> dict[str, Timing]:
        return {
            name: Timing(tuple(entry["seconds"]), entry["peak_mib"])
            for name, entry in entries.items()
        }

    def tuples(entries: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in entries.items()
        }

    networks = [
        {**tuples(one), "maps": timings(one["maps"]), "curves": timings(one["curves"])}
        for one in found.pop("networks")
    ]
    growth = [{**one, "maps": timings(one["maps"])} for one in found.pop("growth")]
    settings = BenchSettings(**tuples(found.pop("settings")))
    return BenchResults(
        **found,
        settings=settings,
        networks=tuple(NetworkBench(**one) for one in networks),
        growth=tuple(GrowthPoint(**one) for one in growth),
    )
