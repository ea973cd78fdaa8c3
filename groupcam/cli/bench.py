"""`bench`: how fast Group-CAM is on this machine, and whether fast settings keep the map."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from groupcam.cli.bars import run_with_bar
from groupcam.cli.table import print_table
from groupcam.errors import GroupCamError
from groupcam.evaluate.bench.augmenting import AugmentingCost, augmenting_steps, save_costs
from groupcam.evaluate.bench.early import NEAR, SHARE, EarlyAreas, early_steps, save_early
from groupcam.evaluate.bench.pictures import picture_files
from groupcam.evaluate.bench.report import (
    Row,
    curve_rows,
    draw,
    growth_rows,
    map_rows,
    network_rows,
    write_readme_section,
)
from groupcam.evaluate.bench.results import BenchResults, BenchSettings, load_results, save_results
from groupcam.evaluate.bench.rounds import bench_steps, progress_of
from groupcam.evaluate.bench.speedups import (
    LEAST_SPEARMAN,
    MOST_AUC_DIFFERENCE,
    SpeedupCheck,
    save_checks,
    speedup_steps,
)

RESULTS_FILE = "bench.json"
PLOT_FILE = "bench.png"
CHECKS_FILE = "speedups.json"
EARLY_FILE = "early_areas.json"
AUGMENTING_FILE = "augmenting.json"
DEFAULTS = BenchSettings()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench`."""
    parser.add_argument(
        "--backbones",
        metavar="NAME",
        nargs="+",
        default=list(DEFAULTS.backbones),
        help="networks to measure; growth, and the methods of other packages, are measured on the "
        "first (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        metavar="N",
        type=_positive,
        default=DEFAULTS.repeats,
        help="rounds in which every contender runs once (default: %(default)s)",
    )
    parser.add_argument(
        "--groups",
        metavar="N",
        nargs="*",
        type=_positive,
        default=list(DEFAULTS.groups),
        help="numbers of groups of the growth (default: %(default)s)",
    )
    parser.add_argument(
        "--sizes",
        metavar="PIXELS",
        nargs="*",
        type=_positive,
        default=list(DEFAULTS.sizes),
        help="sides of the pictures of the growth (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default=DEFAULTS.device, help="for example cuda (default: %(default)s)"
    )
    parser.add_argument(
        "--pictures",
        metavar="DIR",
        type=Path,
        help="pictures to explain, one a round (default: a made-up one)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out growth, memory and the methods of other packages",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help=f"write the results as {RESULTS_FILE} and {PLOT_FILE} into this folder; the same "
        "command goes on where it was stopped",
    )
    parser.add_argument(
        "--readme",
        metavar="FILE",
        type=Path,
        help=f"measure nothing: write the tables of --out's {RESULTS_FILE} into this README",
    )
    check = parser.add_argument_group("check")
    check.add_argument(
        "--check-speedups",
        metavar="DIR",
        type=Path,
        help="instead compare the maps and curves of every fast setting with float32 eager ones "
        f"on the pictures of a folder: Spearman at least {LEAST_SPEARMAN}, areas within "
        f"{MOST_AUC_DIFFERENCE}; and areas after {SHARE:.0%}% of the curves' forward passes with "
        f"the final ones; with --out, written as {CHECKS_FILE} and {EARLY_FILE}",
    )
    check.add_argument(
        "--limit", metavar="N", type=_positive, help="only N pictures, spread over the folder"
    )
    parser.add_argument(
        "--augment",
        metavar="N",
        type=_positive,
        help="instead measure what augmenting a batch of N pictures for a training costs beside "
        f"its bare forward passes; with --out, written as {AUGMENTING_FILE}",
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables, write the files."""
    if args.readme is not None:
        if args.out is None:
            raise GroupCamError("--readme must stand beside --out, the folder of the results.")
        write_readme_section(load_results(args.out / RESULTS_FILE), args.readme)
        return
    if args.limit is not None and args.check_speedups is None:
        raise GroupCamError("--limit must stand beside --check-speedups, which it is about.")
    if args.out is not None:
        _make_folder(args.out)
    if args.check_speedups is not None:
        _check_speedups(args)
        return
    if args.augment is not None:
        _measure_augmenting(args)
        return
    pictures = () if args.pictures is None else picture_files(args.pictures)
    settings = BenchSettings(
        backbones=tuple(args.backbones),
        repeats=args.repeats,
        groups=tuple(args.groups),
        sizes=tuple(args.sizes),
        device=args.device,
        quick=args.quick,
        pictures=tuple(map(str, pictures)),
    )
    file = None if args.out is None else args.out / RESULTS_FILE
    earlier = load_results(file) if file is not None and file.exists() else None

    def keep(results: BenchResults) -> tuple[int, int]:
        if file is not None and (results.networks or results.growth):
            save_results(results, file)
        return progress_of(results)

    results = run_with_bar("Measuring", bench_steps(settings, earlier), keep)
    if args.out is not None:
        draw(results, args.out / PLOT_FILE)
    _print_results(results)


def _print_results(results: BenchResults) -> None:
    """Print all tables."""
    for name, value in {**results.hardware, **results.versions}.items():
        print(f"{name}: {value}")
    print("\nOne map: seconds, and the others as multiples (spread of the rounds)")
    _print_rows(*map_rows(results))
    print("\nBoth curves")
    _print_rows(*curve_rows(results))
    print()
    _print_rows(*network_rows(results))
    if results.growth:
        print("\nGrowth")
        _print_rows(*growth_rows(results))


def _check_speedups(args: argparse.Namespace) -> None:
    """Check every backbone's settings, print a line each, and say which may be defaults."""
    files = picture_files(args.check_speedups)
    if args.limit is not None:
        files = files[:: max(1, len(files) // args.limit)][: args.limit]
    checks: list[SpeedupCheck] = []
    early: list[EarlyAreas] = []
    for name in args.backbones:
        steps = speedup_steps(name, files, args.device)
        checks += run_with_bar(f"Checking {name}", steps, lambda step: step)
        curves = early_steps(name, files, args.device)
        early.append(run_with_bar(f"Curves of {name}", curves, lambda step: step))
        if args.out is not None:
            save_checks(checks, args.out / CHECKS_FILE)
            save_early(early, args.out / EARLY_FILE)
    headings = ("Network", "Setting", "Pictures", "Least Spearman", "Largest AUC difference", "")
    _print_rows(
        headings,
        [
            (
                check.backbone,
                check.setting,
                str(check.pictures),
                f"{check.least_spearman:.5f}",
                f"{check.largest_auc_difference:.5f}",
                "may be a default" if check.may_be_default else "never a default",
            )
            for check in checks
        ],
    )
    print(f"\nAreas under the curves after {SHARE:.0%} of the forward passes, within {NEAR}:")
    _print_rows(
        ("Network", "Pictures", "Areas", "Both of a picture"),
        [
            (one.backbone, str(one.pictures), f"{one.near:.1%}", f"{one.both_near:.1%}")
            for one in early
        ],
    )


def _measure_augmenting(args: argparse.Namespace) -> None:
    """Measure every backbone and print a line each."""
    files = () if args.pictures is None else picture_files(args.pictures)
    costs: list[AugmentingCost] = []
    for name in args.backbones:
        steps = augmenting_steps(
            name, args.augment, repeats=args.repeats, device=args.device, files=files
        )
        costs.append(run_with_bar(f"Augmenting with {name}", steps, lambda step: step))
        if args.out is not None:
            save_costs(costs, args.out / AUGMENTING_FILE)
    _print_rows(
        ("Network", "Pictures", "Forwards", "Augmenting", "Bare forwards", "Bare by", "Ratio"),
        [
            (
                cost.backbone,
                str(cost.batch),
                str(cost.forward_passes),
                f"{cost.augmenting.median_s:.2f} s",
                f"{cost.bare.median_s:.2f} s",
                cost.floor,
                f"{cost.ratio.median:.2f} ({cost.ratio.low:.2f} to {cost.ratio.high:.2f})",
            )
            for cost in costs
        ],
    )


def _print_rows(headings: Row, rows: Sequence[Row]) -> None:
    print_table([heading.upper() for heading in headings], rows)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GroupCamError(
            f"--out must name a folder that can be written; got '{folder}' ({error.strerror})."
        ) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; got '{text}'")
    return int(text)
