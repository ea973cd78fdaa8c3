r"""`finetune`: train a classifier on, on pictures of which only the salient part is sharp.

Options have the names and defaults of FinetuneSettings.

The paper's training, ResNet-50 on ImageNet (arXiv:2103.13859; the authors' log goes from 75.92 to
76.74 % top-1, without a control), with its controls of equal budget on eight GPUs. IMAGENET holds
train/ and val/ with a folder a WordNet id, so the network keeps its classifier. An epoch of
Group-CAM costs up to 45 million forward passes (34 a picture for the map, 1 to learn):

    for augment in group_cam none random_mask centre; do
        torchrun --nproc-per-node 8 -m groupcam finetune IMAGENET --out runs/$augment \
            --backbone torchvision/resnet50 --weights IMAGENET1K_V1 --device cuda --readers 12 \
            --augment $augment --probability 1 --epochs 20 --batch-size 256 \
            --learning-rate 0.001 --schedule step --amp bfloat16 --precision bfloat16
    done

gives every arm the same pictures. For the same forward passes, the controls run again with
`--forwards N` in the place of `--epochs`, N being `forward_passes` in the last line of
runs/group_cam/metrics.jsonl. Several seeds an arm (`--seed`) tell a gain from chance.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, get_args

import torch
from tqdm import tqdm

from groupcam.augment import Edge
from groupcam.cli.bars import run_with_bar
from groupcam.cli.config_options import add_config_options, given_config
from groupcam.errors import GroupCamError
from groupcam.evaluate.workers import joined_workers
from groupcam.finetune.data import open_class_folders
from groupcam.finetune.experiment import experiment_steps, experiment_table, load_experiment
from groupcam.finetune.plot import training_figure
from groupcam.finetune.run import METRICS_FILE, WEIGHTS_FILE, Progress, finetune_steps
from groupcam.finetune.settings import AUGMENTS, Amp, FinetuneSettings, Schedule, Unit
from groupcam.render.figures import save_png

PLOT_FILE = "metrics.png"
DEFAULTS = FinetuneSettings()
# What a setting is for. Its name, type and default stand in FinetuneSettings.
NUMBERS = {
    "probability": "that a picture is augmented",
    "batch_size": "pictures a step, of all processes together",
    "learning_rate": "at its highest",
    "momentum": "of the optimiser",
    "weight_decay": "of the optimiser",
    "warmup": "part of the length in which the learning rate rises",
    "label_smoothing": "of the loss",
    "smallest_crop": "part of a picture that a random crop has at least",
    "ema_decay": "of a running mean of the weights, which is then evaluated and kept",
    "held_out": "part of each class that is evaluated on, where DATA has no val folder",
    "split": "which part that is",
    "evaluations": "evenly spaced; a checkpoint is written with each",
    "seed": "of everything that is drawn",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `finetune`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = __doc__.partition("\n\n")[2].partition("\n\n")[2] if __doc__ else None
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="pictures as train/CLASS/* and val/CLASS/*, or as CLASS/*",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help=f"folder for {METRICS_FILE}, {PLOT_FILE}, {WEIGHTS_FILE} and the checkpoint; the same "
        "command again goes on where it ended",
    )
    parser.add_argument(
        "--experiment",
        metavar="SEEDS",
        type=int,
        help="instead train every arm with so many seeds and held-out parts: once with the same "
        "pictures, and the controls again with the forward passes of Group-CAM; and compare them",
    )
    _add_network_options(parser.add_argument_group("network"))
    _add_augment_options(parser.add_argument_group("augmentation"))
    _add_training_options(parser.add_argument_group("training"))


def _add_network_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--backbone", metavar="NAME", default=DEFAULTS.backbone, help="(default: %(default)s)"
    )
    group.add_argument(
        "--weights",
        metavar="TAG|PATH",
        default=DEFAULTS.weights,
        help="to begin with; none for random ones (default: %(default)s)",
    )
    group.add_argument(
        "--input-size", metavar="N", type=int, help="side in pixels (default: the weights' own)"
    )
    group.add_argument(
        "--trained",
        metavar="MODULE",
        nargs="+",
        default=DEFAULTS.trained,
        help="modules that learn, beside a new classifier; the others keep their running "
        "statistics too (default: all)",
    )
    group.add_argument("--device", default=DEFAULTS.device, help="(default: %(default)s)")
    group.add_argument(
        "--kinds",
        action="store_true",
        help="learn kinds of things (dog, vehicle, ...) where folders are WordNet ids",
    )


def _add_augment_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--augment",
        choices=AUGMENTS,
        default=DEFAULTS.augment,
        help="what stays sharp: what Group-CAM finds salient for the true class, everything, or, "
        "as controls, random places or the centre (default: %(default)s)",
    )
    _add_number(group, "probability")
    group.add_argument(
        "--edge",
        choices=get_args(Edge),
        default=DEFAULTS.edge,
        help="whether a place is sharp or blurred, or in between (default: %(default)s)",
    )
    group.add_argument(
        "--target-layer", metavar="NAME", help="that is explained (default: the backbone's own)"
    )
    add_config_options(group)


def _add_training_options(group: "argparse._ArgumentGroup") -> None:
    lengths = group.add_mutually_exclusive_group()
    for unit, text in (
        ("epochs", f"length: times that every picture is seen (default: {DEFAULTS.length})"),
        ("pictures", "length: pictures seen"),
        ("forwards", "length: forward passes of training and augmentation together"),
    ):
        lengths.add_argument(f"--{unit}", metavar="N", type=int, help=text)
    for name in NUMBERS:
        if name != "probability":
            _add_number(group, name)
    group.add_argument(
        "--optimizer", metavar="NAME", default=DEFAULTS.optimizer, help="of timm (%(default)s)"
    )
    for name, choices in (("schedule", get_args(Schedule)), ("amp", get_args(Amp))):
        group.add_argument(
            f"--{name}",
            choices=choices,
            default=getattr(DEFAULTS, name),
            help={
                "schedule": "of the learning rate, over the whole length (default: %(default)s)",
                "amp": "number format of the training's passes (default: %(default)s)",
            }[name],
        )
    group.add_argument(
        "--readers",
        metavar="N",
        type=int,
        default=0,
        help="processes that read pictures (default: %(default)s, this one reads them itself)",
    )


def _add_number(group: "argparse._ArgumentGroup", name: str) -> None:
    """Add the option of a number, with the type and default that it has in FinetuneSettings."""
    default = getattr(DEFAULTS, name)
    group.add_argument(
        f"--{name.replace('_', '-')}",
        metavar="N",
        type=int if isinstance(default, int) else float,
        default=default,
        help=f"{NUMBERS[name]} (default: {'none' if default is None else default})",
    )


def run(args: argparse.Namespace) -> None:
    """Train, tell of every evaluation, and draw the course."""
    settings = settings_of(args)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GroupCamError(
            f"--out must name a folder that can be written; got '{args.out}' ({error.strerror})."
        ) from error
    if args.experiment is not None:
        _run_experiment(args, settings)
        return
    data = open_class_folders(args.data, settings.held_out, settings.split, kinds=settings.kinds)
    gpu = settings.device.startswith("cuda") and torch.cuda.is_available()
    with joined_workers("cpu:gloo,cuda:nccl" if gpu else "gloo") as workers:
        steps = finetune_steps(data, settings, args.out, workers, readers=args.readers)
        tell = _tell if workers.is_first else _keep_silent
        trained = run_with_bar("Training", steps, tell)
        if not workers.is_first:
            return
    save_png(training_figure(trained.entries), args.out / PLOT_FILE)
    print(f"result     {args.out}: {METRICS_FILE}, {PLOT_FILE}, {WEIGHTS_FILE}")
    print(
        f"explain it python -m groupcam explain IMAGE --backbone {settings.backbone} "
        f"--weights {args.out / WEIGHTS_FILE} --out DIR"
    )


def settings_of(args: argparse.Namespace) -> FinetuneSettings:
    """Return the settings that the options name."""
    names = {field.name for field in dataclasses.fields(FinetuneSettings)}
    given: dict[str, Any] = {name: value for name, value in vars(args).items() if name in names}
    given["weights"] = None if args.weights == "none" else args.weights
    given["trained"] = tuple(args.trained)
    given["group_cam"] = given_config(args, DEFAULTS.group_cam)
    for unit in get_args(Unit):
        if getattr(args, unit) is not None:
            given["unit"], given["length"] = unit, getattr(args, unit)
    return FinetuneSettings(**given)


def _run_experiment(args: argparse.Namespace, settings: FinetuneSettings) -> None:
    """Train all arms and print their table."""
    steps = experiment_steps(args.data, settings, args.experiment, args.out, readers=args.readers)
    path = run_with_bar("Training all arms", steps, lambda step: step)
    print(experiment_table(load_experiment(path)))
    print(f"\nresult     {path}")


def _tell(step: Progress) -> tuple[int, int]:
    """Print a line for an evaluation."""
    entry = step.entry
    if entry is not None:
        loss = "" if entry["loss"] is None else f"  loss {entry['loss']:.3f}"
        left = "" if not step.left_s else f"  {_time(step.left_s)} left"
        tqdm.write(  # above the bar, where there is one
            f"epoch {entry['epochs']:6.2f}{loss}  "
            f"validation {entry['validation_loss']:.3f}, {entry['validation_accuracy']:.1%}{left}"
        )
    return step.spent, step.budget


def _keep_silent(step: Progress) -> tuple[int, int]:
    return step.spent, step.budget


def _time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
