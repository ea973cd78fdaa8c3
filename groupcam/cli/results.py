"""`results`: the tables of finished evaluations and experiments again, without their pictures."""

import argparse
import shutil
from pathlib import Path

from groupcam.errors import GroupCamError
from groupcam.evaluate.readme import (
    compact,
    load_results,
    reference_of,
    title_of,
    write_readme_section,
)
from groupcam.evaluate.report import protocol_text
from groupcam.evaluate.summary import summarise
from groupcam.evaluate.tables import as_markdown
from groupcam.finetune.experiment import (
    experiment_table,
    is_experiment,
    load_experiment,
    write_experiment_section,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `results`."""
    parser.add_argument(
        "files",
        metavar="FILE.jsonl",
        type=Path,
        nargs="+",
        help="results of `evaluate` or of `finetune --experiment`",
    )
    parser.add_argument(
        "--readme", metavar="FILE", type=Path, help="write the tables between their marks in it"
    )
    parser.add_argument(
        "--compact",
        metavar="DIR",
        type=Path,
        help="write the results there without the maps that only the report shows",
    )


def run(args: argparse.Namespace) -> None:
    """Print the tables, or write them where they belong."""
    for path in args.files:
        if not path.is_file():
            raise GroupCamError(f"FILE.jsonl must be a file; got '{path}'.")
    experiments = [path for path in args.files if is_experiment(path)]
    files = [path for path in args.files if path not in experiments]
    if args.compact is not None:
        args.compact.mkdir(parents=True, exist_ok=True)
        for path in files:
            compact(path, args.compact / path.name)
        for path in experiments:  # as small as they can be
            shutil.copyfile(path, args.compact / path.name)
    if args.readme is not None:
        if files:
            write_readme_section([(title_of(path), path) for path in files], args.readme)
        if experiments:
            write_experiment_section(experiments, args.readme)
    if args.compact is None and args.readme is None:
        for path in files:
            results = load_results(path)
            summary = summarise(results, reference_of(results))
            print(as_markdown(summary, protocol_text(results.card)))
        for path in experiments:
            print(experiment_table(load_experiment(path)))
