"""`backbones`: which networks can be explained, and, with --check, whether they really can."""

import argparse
import contextlib
import dataclasses
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from groupcam.cli.bars import run_with_bar
from groupcam.cli.table import print_table
from groupcam.errors import GroupCamError, did_you_mean
from groupcam.evaluate.backbone_sweep import (
    DEFAULT_TIMEOUT_S,
    check_steps,
    cores,
    size_steps,
    sweep_names,
)
from groupcam.models import BackboneEntry, list_backbones
from groupcam.models.families import (
    ARCHITECTURES_TABLE,
    CHECKS_TABLE,
    CheckedBackbone,
    write_table,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `backbones`."""
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="only names that fit, in quotes: 'timm/resnet*', or a part of a name: resnet",
    )
    parser.add_argument(
        "--ready", action="store_true", help="only those whose weights are on this machine"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="explain a picture with each, with random weights, and print what came of it; "
        "without PATTERN, with the smallest classifier of every timm family and all of torchvision",
    )
    check = parser.add_argument_group("check")
    check.add_argument(
        "--jobs", metavar="N", type=_positive_int, help=f"networks at a time (default: {cores()})"
    )
    check.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive_float,
        help=f"give up a network after this long (default: {DEFAULT_TIMEOUT_S})",
    )
    check.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="keep results and tables here: the same command goes on where it was interrupted, "
        "and tries again what failed",
    )


def run(args: argparse.Namespace) -> None:
    """Print one line a backbone: what it has, or how it fared."""
    if args.check:
        _check(args)
        return
    for option in ("jobs", "timeout", "out"):
        if getattr(args, option) is not None:
            raise GroupCamError(f"--{option} must stand beside --check, which it is about.")
    print_table(
        ("NAME", "READY OFFLINE", "PRETRAINED"),
        [
            (entry.name, _yes(entry.ready_offline), _yes(entry.pretrained))
            for entry in _entries(args)
        ],
    )


def _entries(args: argparse.Namespace) -> list[BackboneEntry]:
    """Return the backbones that PATTERN and --ready leave."""
    pattern = args.pattern or "*"
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    entries = list_backbones(pattern)
    if not entries:
        names = [entry.name for entry in list_backbones()]
        raise GroupCamError(
            f"PATTERN must fit a backbone's name; got '{args.pattern}'."
            f"{did_you_mean(args.pattern, names)}"
        )
    return [entry for entry in entries if entry.ready_offline or not args.ready]


def _check(args: argparse.Namespace) -> None:
    """Check backbones, print the table, and write it to the folder if one is given.

    Raises:
        GroupCamError: not all are ok.
    """
    is_sweep = args.pattern is None and not args.ready
    with _folder(args.out) as folder:
        if is_sweep:
            sizes = run_with_bar("Counting parameters", size_steps(folder), _itself)
            write_table(folder / ARCHITECTURES_TABLE.name, sizes)
            names = sweep_names(sizes)
        else:
            names = [entry.name for entry in _entries(args)]
        if not names:
            raise GroupCamError("--check must have a backbone to check; none that fits is ready.")
        steps = check_steps(
            names,
            folder,
            jobs=args.jobs or cores(),
            timeout_s=args.timeout or DEFAULT_TIMEOUT_S,
        )
        rows = run_with_bar("Checking", steps, _itself)
        write_table(folder / CHECKS_TABLE.name, rows)
    _print_checks(rows)
    failed = [row.name for row in rows if row.verdict != "ok"]
    if failed:
        raise GroupCamError(f"All backbones must be ok; {len(failed)} are not: {failed}.")


@contextlib.contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    """Give the folder to keep results in; without one, a folder that is gone afterwards."""
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        yield path
    except KeyboardInterrupt:
        print(f"Results so far are kept in {path}: repeat the command to go on.", file=sys.stderr)
        raise
    except OSError as error:
        raise GroupCamError(
            f"--out must name a folder that can be written; got '{path}' ({error.strerror})."
        ) from error


def _print_checks(rows: Sequence[CheckedBackbone]) -> None:
    """Print one line a backbone and a line that counts the verdicts."""
    headings = [field.name.replace("_", " ").upper() for field in dataclasses.fields(rows[0])]
    print_table(
        headings,
        [
            ["" if value is None else str(value) for value in dataclasses.astuple(row)]
            for row in rows
        ],
    )
    verdicts = Counter(row.verdict for row in rows).most_common()
    print(f"{len(rows)} checked:", ", ".join(f"{count} {verdict}" for verdict, count in verdicts))


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; got '{text}'")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0; got '{text}'")
    return value


def _itself(step: tuple[int, int]) -> tuple[int, int]:
    return step


def _yes(value: bool) -> str:
    return "yes" if value else "no"
