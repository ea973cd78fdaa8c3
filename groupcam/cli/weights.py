"""`weights`: which pretrained weights there are, and what is stated about them."""

import argparse
import re

from groupcam.cli.table import print_table
from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.models import list_backbones
from groupcam.models.weights_list import WeightsEntry, list_weights

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}
UNKNOWN = "-"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `weights`."""
    parser.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        default="*",
        help="only names that fit, in quotes: 'timm/resnet50', '*.*in12k*', or a part of a name "
        "or tag: resnet",
    )
    parser.add_argument("--ready", action="store_true", help="only those on this machine")
    parser.add_argument(
        "--max-params",
        metavar="N",
        type=parse_count,
        help="only networks with at most so many parameters: 5000000, 30M, 1.5B",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="only those trained on these pictures (in22k, laion2b) or for these classes "
        "(imagenet-12k); a wrong name lists all",
    )


def run(args: argparse.Namespace) -> None:
    """Print one line for each set of weights."""
    pattern = args.pattern if any(sign in args.pattern for sign in "*?[") else f"*{args.pattern}*"
    if not list_weights(pattern):
        names = [entry.name for entry in list_backbones()]
        raise GroupCamError(
            f"PATTERN must fit the name or tag of pretrained weights; got '{args.pattern}'."
            f"{did_you_mean(args.pattern, names)}"
        )
    entries = list_weights(
        pattern, dataset=args.dataset, max_parameters=args.max_params, ready_offline=args.ready
    )
    print_table(
        (
            *("NAME", "WEIGHTS", "CLASSES", "OF", "TRAINED ON", "INPUT", "PARAMETERS"),
            *("TOP-1", "LICENCE", "READY OFFLINE"),
        ),
        [_cells(entry) for entry in entries],
    )


def parse_count(text: str) -> int:
    """Return a count written as 5000000, 500K, 30M or 1.5B."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)([KMB]?)", text.strip().upper())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be a count such as 5000000 or 30M; got {shown(text)}"
        )
    return round(float(match[1]) * UNITS[match[2]])


def _cells(entry: WeightsEntry) -> list[str]:
    """Return an entry's line; unknown is a dash."""
    return [
        entry.name,
        f"{entry.tag} (default)" if entry.is_default and entry.tag != "default" else entry.tag,
        str(entry.classes) if entry.classes else "none",
        entry.labels or UNKNOWN,
        " > ".join(entry.datasets) or UNKNOWN,
        " x ".join(map(str, entry.input_size)),
        UNKNOWN if entry.parameters is None else f"{entry.parameters / 1e6:.1f} M",
        UNKNOWN if entry.top1_accuracy is None else f"{entry.top1_accuracy:.1%}",
        entry.licence or UNKNOWN,
        "yes" if entry.ready_offline else "no",
    ]
