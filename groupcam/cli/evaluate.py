"""`evaluate`: methods compared on a folder of pictures, with tables, plots and a report.

Options have the names and defaults of EvaluateSettings, in the singular where several may follow.
"""

import argparse
from pathlib import Path
from typing import get_args

from groupcam.cli.bars import run_with_bar
from groupcam.cli.table import print_table
from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import DataSet, Half, open_data_set
from groupcam.evaluate.measures import METRICS
from groupcam.evaluate.plots import summary_figure
from groupcam.evaluate.report import protocol_text, write_report
from groupcam.evaluate.run import Results, evaluate_steps
from groupcam.evaluate.settings import EvaluateSettings, Explained
from groupcam.evaluate.summary import Summary, checked_reference, summarise
from groupcam.evaluate.tables import (
    NOTE,
    as_csv,
    as_markdown,
    comparison_rows,
    failure_rows,
    mean_rows,
)
from groupcam.evaluate.workers import Workers, joined_workers
from groupcam.metrics.protocols import PRESETS
from groupcam.models import View
from groupcam.render.figures import save_png
from groupcam.saliency.methods import METHODS

RESULTS_FILE = "results.jsonl"
DEFAULTS = EvaluateSettings()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="pictures in folders named by WordNet id, a COCO or VOC folder, or any folder",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.jsonl|DIR",
        type=Path,
        required=True,
        help="the results, a line a picture; tables, plots and report lie beside them under the "
        f"same name. A folder gets {RESULTS_FILE}. The same command again goes on where it ended",
    )
    _add_subject_options(parser.add_argument_group("what is compared"))
    _add_protocol_options(parser.add_argument_group("how"))


def _add_subject_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--method",
        dest="methods",
        metavar="NAME",
        nargs="+",
        default=DEFAULTS.methods,
        help=f"of {', '.join(METHODS)}; with options as group_cam:groups=64,merge=raw "
        f"(default: {' '.join(DEFAULTS.methods)})",
    )
    group.add_argument(
        "--metric",
        dest="metrics",
        metavar="NAME",
        nargs="+",
        choices=METRICS,
        default=DEFAULTS.metrics,
        help=f"of {', '.join(METRICS)} (default: {' '.join(DEFAULTS.metrics)})",
    )
    group.add_argument(
        "--backbone",
        dest="backbones",
        metavar="NAME",
        nargs="+",
        default=DEFAULTS.backbones,
        help=f"see 'python -m groupcam backbones' (default: {' '.join(DEFAULTS.backbones)})",
    )
    group.add_argument(
        "--layer",
        dest="layers",
        metavar="NAME",
        nargs="+",
        default=DEFAULTS.layers,
        help="of every backbone, or as BACKBONE:NAME of one (default: the default layer of each)",
    )
    group.add_argument(
        "--weights",
        metavar="TAG|PATH",
        default=DEFAULTS.weights,
        help="of every backbone; none for random weights (default: %(default)s)",
    )
    group.add_argument(
        "--reference",
        metavar="NAME",
        help="the method that the others are compared with (default: the first)",
    )


def _add_protocol_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--class",
        dest="explained",
        choices=get_args(Explained),
        default=DEFAULTS.explained,
        help="class that is explained: the network's top one, or the label of the folder "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--view",
        choices=get_args(View),
        default=DEFAULTS.view,
        help="what the network sees of a picture (default: %(default)s)",
    )
    group.add_argument(
        "--protocol",
        choices=PRESETS,
        default=DEFAULTS.protocol,
        help="baselines and steps of the curves (default: %(default)s)",
    )
    group.add_argument(
        "--steps",
        metavar="N",
        type=int,
        help="of the curves, at most (default: the protocol's)",
    )
    group.add_argument(
        "--half",
        choices=get_args(Half),
        default=DEFAULTS.half,
        help="one half of the pictures, by their names: the first to choose a setting, the second "
        "to confirm it (default: %(default)s)",
    )
    group.add_argument(
        "--limit", metavar="N", type=int, help="only N pictures, spread over the folder"
    )
    group.add_argument(
        "--annotations",
        metavar="FILE",
        type=Path,
        help="file of COCO instances, where FOLDER has none or several",
    )
    group.add_argument(
        "--device", default=DEFAULTS.device, help="for example cuda (default: %(default)s)"
    )
    group.add_argument(
        "--no-prepare",
        dest="prepare",
        action="store_false",
        help="run networks as PyTorch does: slower, but equal to the last digit",
    )
    group.add_argument(
        "--retry-failed",
        action="store_true",
        help="try pictures again that failed in an earlier run",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate what is not finished, then print and write the tables."""
    settings = settings_of(args)
    checked_reference(settings.methods, args.reference)
    data = open_data_set(args.folder, args.annotations)
    out = _results_file(args.out, args.folder)
    with joined_workers() as workers:
        steps = evaluate_steps(data, settings, out, workers, retry_failed=args.retry_failed)
        what = _bar_title(workers)
        results = run_with_bar(what, steps, lambda step: (step.done, step.total))
    if results is not None:
        summary = summarise(results, args.reference)
        _write_files(results, summary, data, out)
        _print_results(results, summary, out)


def settings_of(args: argparse.Namespace) -> EvaluateSettings:
    """Return the settings that the options name."""
    return EvaluateSettings(
        methods=tuple(args.methods),
        metrics=tuple(args.metrics),
        backbones=tuple(args.backbones),
        layers=tuple(args.layers),
        weights=None if args.weights == "none" else args.weights,
        explained=args.explained,
        view=args.view,
        protocol=args.protocol,
        steps=args.steps,
        half=args.half,
        limit=args.limit,
        device=args.device,
        prepare=args.prepare,
    )


def _results_file(out: Path, folder: Path) -> Path:
    """Return the file of the results; its folder is made.

    Raises:
        GroupCamError: it cannot be, or it would lie among the pictures.
    """
    file = out if out.suffix == ".jsonl" else out / RESULTS_FILE
    if file.resolve().is_relative_to(folder.resolve()):
        raise GroupCamError(
            f"--out must lie outside FOLDER, whose pictures are counted; got '{out}'."
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GroupCamError(
            f"--out must name a file or folder that can be written; got '{out}' ({error.strerror})."
        ) from error
    return file


def _bar_title(workers: Workers) -> str:
    if workers.count == 1:
        return "Evaluating"
    return f"Evaluating, worker {workers.rank + 1} of {workers.count}"


def _write_files(results: Results, summary: Summary, data: DataSet, out: Path) -> None:
    """Write what lies beside the results."""
    protocol = protocol_text(results.card)
    out.with_suffix(".csv").write_text(as_csv(summary), encoding="utf-8")
    out.with_suffix(".md").write_text(as_markdown(summary, protocol), encoding="utf-8")
    save_png(summary_figure(summary), out.with_suffix(".png"))
    write_report(results, summary, data, out.with_suffix(".html"))


def _print_results(results: Results, summary: Summary, out: Path) -> None:
    """Print the tables for a person."""
    print(f"{protocol_text(results.card)}\n\n{NOTE}\n")
    _print_rows(*mean_rows(summary))
    headings, rows = comparison_rows(summary)
    if rows:
        print(f"\nCompared with {summary.reference}")
        _print_rows(headings, rows)
    if summary.failures:
        print(f"\nFailures: {len(summary.failures)}")
        _print_rows(*failure_rows(summary))
    names = ", ".join(out.with_suffix(suffix).name for suffix in (".csv", ".md", ".png", ".html"))
    print(f"\nresult     {out}, {names}")


def _print_rows(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    print_table([heading.upper() for heading in headings], rows)
