"""What is known of a backbone before it is built: its family, its size, and if its family works.

A family is the library's module that defines the architecture: timm's `vision_transformer`,
torchvision's `resnet`. Families come from the installed libraries. Sizes and verdicts come from
two tables that `python -m groupcam backbones --check` wrote: `architectures.csv` has every
architecture, `checked_backbones.csv` the smallest classifier of each timm family and all of
torchvision. Libraries newer than the tables may have names that the tables lack.
"""

import csv
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import timm
import torchvision

ARCHITECTURES_TABLE = Path(__file__).with_name("architectures.csv")
CHECKS_TABLE = Path(__file__).with_name("checked_backbones.csv")

# Families of the same name in two libraries are two families.
Family = tuple[str, str]  # library, module

Verdict = Literal["ok", "no classifier head", "failed", "timed out", "out of memory", "crashed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class ArchitectureSize:
    """One row of `architectures.csv`."""

    name: str  # "library/architecture"
    family: str
    parameters: int | None  # with the default number of classes; None: could not be counted
    is_classifier: bool = True  # False: an encoder without a head, whatever classes are asked for


@dataclass(frozen=True)
class CheckedBackbone:
    """How one backbone fared in the sweep: one row of `checked_backbones.csv`.

    What was not reached is None, or "" for texts.
    """

    family: str
    name: str  # "library/architecture"
    parameters: int | None = None
    input_size: str = ""  # "H x W"
    target_layer: str = ""  # the default one
    layout: str = ""
    grid: str = ""  # "h x w"
    channels: int | None = None
    passes: int | None = None  # forward passes of the explanation
    seconds: float | None = None  # of the whole check
    verdict: Verdict = "ok"
    reason: str = ""  # why not ok; with ok, why the map is blank if it is


def family_of(name: str) -> str | None:
    """Return the family of a backbone, "timm/resnet50" -> "resnet"; None: no such backbone."""
    family = _families_by_name().get(name)
    return None if family is None else family[1]


def families() -> dict[Family, tuple[str, ...]]:
    """Return the names of the members of every family of the installed libraries."""
    members: dict[Family, list[str]] = {}
    for name, family in _families_by_name().items():
        members.setdefault(family, []).append(name)
    return {family: tuple(names) for family, names in members.items()}


def parameters_of(name: str) -> int | None:
    """Return a backbone's number of parameters; None where the table does not have it."""
    size = _sizes_by_name().get(name)
    return None if size is None else size.parameters


def check_of(name: str) -> CheckedBackbone | None:
    """Return how the backbone fared in the sweep, or else a member of its family.

    None means that neither was checked. A bad verdict is a warning, no proof: another member of
    the family may work.
    """
    checks = _checks_by_name()
    if name in checks:
        return checks[name]
    size = _sizes_by_name().get(name)
    if size is not None and not size.is_classifier:
        reason = f"{name} is an encoder: it has no head that gives logits."
        return CheckedBackbone(
            size.family, name, size.parameters, verdict="no classifier head", reason=reason
        )
    family = _families_by_name().get(name)
    relatives = [
        check for known, check in checks.items() if _families_by_name().get(known) == family
    ]
    return relatives[0] if family and relatives else None


def read_sizes(path: Path = ARCHITECTURES_TABLE) -> list[ArchitectureSize]:
    """Return the rows of a table of sizes."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            ArchitectureSize(
                row["name"],
                row["family"],
                _whole(row["parameters"]),
                is_classifier=row["is_classifier"] == "True",
            )
            for row in csv.DictReader(file)
        ]


def read_checks(path: Path = CHECKS_TABLE) -> list[CheckedBackbone]:
    """Return the rows of a table of checks.

    Raises:
        ValueError: a verdict is not one of `VERDICTS`.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return [
            CheckedBackbone(
                family=row["family"],
                name=row["name"],
                parameters=_whole(row["parameters"]),
                input_size=row["input_size"],
                target_layer=row["target_layer"],
                layout=row["layout"],
                grid=row["grid"],
                channels=_whole(row["channels"]),
                passes=_whole(row["passes"]),
                seconds=float(row["seconds"]) if row["seconds"] else None,
                verdict=_verdict(row["verdict"]),
                reason=row["reason"],
            )
            for row in csv.DictReader(file)
        ]


def write_table(path: Path, rows: Sequence[ArchitectureSize] | Sequence[CheckedBackbone]) -> None:
    """Write rows of one kind, at least one, as `read_sizes` and `read_checks` read them."""
    columns = [field.name for field in dataclasses.fields(rows[0])]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)


@functools.cache
def _families_by_name() -> dict[str, Family]:
    """Return the family of every backbone, by library and name."""
    found: dict[str, Family] = {}
    for module in timm.list_modules():
        names: Iterable[str] = timm.list_models(module=module)
        found |= {f"timm/{name}": ("timm", module) for name in names}
    for name in torchvision.models.list_models(module=torchvision.models):
        builder = torchvision.models.get_model_builder(name)
        module = builder.__module__.rpartition(".")[2]
        found[f"torchvision/{name}"] = ("torchvision", module)
    return found


@functools.cache
def _sizes_by_name() -> dict[str, ArchitectureSize]:
    return {row.name: row for row in read_sizes()}


@functools.cache
def _checks_by_name() -> dict[str, CheckedBackbone]:
    return {row.name: row for row in read_checks()}


def _whole(text: str) -> int | None:
    return int(text) if text else None


def _verdict(text: str) -> Verdict:
    for verdict in VERDICTS:
        if verdict == text:
            return verdict
    raise ValueError(f"A verdict must be one of {', '.join(VERDICTS)}; got '{text}'.")
