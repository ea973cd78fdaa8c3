"""`backbones`: which networks can be explained."""

import argparse

from groupcam.cli.table import print_table
from groupcam.errors import GroupCamError, did_you_mean
from groupcam.models import list_backbones


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `backbones`."""
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        default="*",
        help="only names that fit, in quotes: 'timm/resnet*', or a part of a name: resnet",
    )
    parser.add_argument(
        "--ready", action="store_true", help="only those whose weights are on this machine"
    )


def run(args: argparse.Namespace) -> None:
    """Print one line a backbone."""
    pattern = args.pattern if any(sign in args.pattern for sign in "*?[") else f"*{args.pattern}*"
    entries = list_backbones(pattern)
    if not entries:
        names = [entry.name for entry in list_backbones()]
        raise GroupCamError(
            f"PATTERN must fit a backbone's name; got '{args.pattern}'."
            f"{did_you_mean(args.pattern, names)}"
        )
    if args.ready:
        entries = [entry for entry in entries if entry.ready_offline]
    print_table(
        ("NAME", "READY OFFLINE", "PRETRAINED"),
        [(entry.name, _yes(entry.ready_offline), _yes(entry.pretrained)) for entry in entries],
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
