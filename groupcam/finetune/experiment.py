"""Does it help? Every arm with several seeds, at equal pictures and at equal forward passes.

Each seed has its own held-out part, order of pictures, crops and new classifier, the same for all
arms. Group-CAM is trained for the length asked for; the controls once for as many pictures, and
once for as many forward passes as Group-CAM took with that seed.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from groupcam.errors import GroupCamError
from groupcam.evaluate.journal import Entry, Journal, read_entries, read_header
from groupcam.finetune.data import ClassFolders, open_class_folders
from groupcam.finetune.run import CHECKPOINT_FILE, WEIGHTS_FILE, Progress, finetune_steps
from groupcam.finetune.settings import Augment, FinetuneSettings, Unit, card_of
from groupcam.metrics.statistics import Interval, difference_interval, mean_interval
from groupcam.render.markdown import markdown_table, put_section
from groupcam.steps import relay

SECTION_START = "<!-- experiment: written by python -m groupcam results --readme -->"
SECTION_END = "<!-- end of experiment -->"
EXPERIMENT_FILE = "experiment.jsonl"
TREATMENT: Augment = "group_cam"
CONTROLS: tuple[Augment, ...] = ("none", "random_mask", "centre")
ARMS: dict[Unit, tuple[Augment, ...]] = {
    "pictures": (TREATMENT, *CONTROLS),
    "forwards": CONTROLS,
}
REFERENCE = "none"
TITLES = {
    "group_cam": "Group-CAM",
    "none": "no augmentation",
    "random_mask": "random mask",
    "centre": "centre",
}
BUDGETS: dict[Unit, str] = {"pictures": "same pictures", "forwards": "same forward passes"}
STEPS = 1000  # of progress a run
COPIED = (
    *("pictures", "augmented", "forward_passes", "backward_passes"),
    *("kept", "loss", "accuracy", "validation_loss", "validation_accuracy"),
    *("seconds", "augmenting_s", "cpu_s"),
)


@dataclass(frozen=True, eq=False)
class Experiment:
    """The header of the results and an entry a run."""

    card: dict[str, Any]
    entries: tuple[Entry, ...]


def experiment_steps(
    folder: Path, settings: FinetuneSettings, seeds: int, out: Path, *, readers: int = 0
) -> Generator[tuple[int, int], None, Path]:
    """Train what is not trained yet; closing the generator stops, the same call goes on.

    Args:
        folder: DATA.
        settings: of all runs; arm, length of the controls, seed and split are set here.
        seeds: runs of each arm.
        out: folder of the results, which must exist.
        readers: as in `finetune_steps`.

    Yields:
        (done, in all), in parts of runs.

    Returns:
        The file of the results.

    Raises:
        GroupCamError: as in `finetune_steps`; there is no seed.
    """
    if seeds < 1 or settings.unit == "forwards":
        raise GroupCamError(
            "An experiment must have at least one seed, and the length of Group-CAM in epochs or "
            f"pictures; got {seeds} seeds and a length in {settings.unit}."
        )
    split = _open(folder, settings, 0)
    path = out / EXPERIMENT_FILE
    runs = [
        (seed, augment, unit)
        for unit, arms in ARMS.items()  # the cheap ones first
        for seed in range(seeds)
        for augment in arms
    ]
    total = len(runs) * STEPS
    with Journal(path, _card(settings, split)) as journal:
        entries = {_key(entry): entry for entry in read_entries(path)}
        for place, (seed, augment, unit) in enumerate(runs):
            yield place * STEPS, total
            if (seed, augment, unit) in entries:
                continue
            arm = dataclasses.replace(settings, augment=augment, unit=unit, seed=seed, split=seed)
            data = _open(folder, arm, seed)
            length = settings.budget(data)
            if unit == "forwards":
                length = entries[seed, TREATMENT, "pictures"]["forward_passes"]
            arm = dataclasses.replace(arm, length=length)
            home = out / f"{seed}-{augment}-{unit}"
            home.mkdir(exist_ok=True)
            with closing(finetune_steps(data, arm, home, readers=readers)) as steps:
                trained = yield from relay(steps, _progress_after(place * STEPS, total))
            entry = _entry(arm, data, trained.entries[-1])
            journal.add(entry)
            entries[seed, augment, unit] = entry
            for file in (CHECKPOINT_FILE, WEIGHTS_FILE):  # of all runs they would fill a disk
                (home / file).unlink()
    yield total, total
    return path


def _progress_after(before: int, total: int) -> Callable[[Progress], tuple[int, int]]:
    """Return what tells how far all runs are from the progress of one."""
    return lambda step: (before + STEPS * min(step.spent, step.budget) // step.budget, total)


def load_experiment(path: Path) -> Experiment:
    """Return the results of an experiment.

    Raises:
        GroupCamError: the file holds none.
    """
    card = read_header(path)
    if card is None or not is_experiment(path):
        raise GroupCamError(f"'{path}' must be the results of `finetune --experiment`; it is not.")
    return Experiment(card, tuple(read_entries(path)))


def is_experiment(path: Path) -> bool:
    """Return whether a file holds the results of an experiment."""
    return "experiment" in (read_header(path) or {})


def write_experiment_section(paths: Sequence[Path], readme: Path) -> None:
    """Put the tables of experiments between their marks in the README.

    Raises:
        GroupCamError: the marks are not there; a file holds no experiment.
    """
    tables = [experiment_table(load_experiment(path)) for path in paths]
    put_section(readme, SECTION_START, SECTION_END, "\n\n".join(tables))


def experiment_table(experiment: Experiment) -> str:
    """Return how it was made, a table of all arms, and how to read it, as Markdown."""
    seeds = sorted({entry["seed"] for entry in experiment.entries})
    rows = []
    for budget in BUDGETS:
        for augment in (REFERENCE, TREATMENT, *CONTROLS[1:]):
            own = _runs(experiment, augment, budget)
            if own:
                rows.append(_row(augment, budget, own, _runs(experiment, REFERENCE, budget)))
    headings = (
        *("Budget", "Arm", "Accuracy", f"Difference to {TITLES[REFERENCE]}", "Seeds won"),
        *("Pictures", "Augmented", "Kept sharp", "Forward passes", "Processor time"),
    )
    return "\n\n".join(
        [_protocol(experiment.card, len(seeds)), markdown_table(headings, rows), NOTE]
    )


NOTE = (
    "Accuracy: of a picture over the seeds that held it out, then the mean over pictures; "
    "differences are paired by picture and seed, with the 95 % bootstrap interval over pictures. "
    "The other columns are means over the seeds; kept sharp is the part of an augmented picture "
    "that was not blurred."
)


def _row(
    augment: str, budget: Unit, own: Sequence[Entry], reference: Sequence[Entry]
) -> tuple[str, ...]:
    accuracy = _interval(mean_interval(list(_by_picture(own).values())), "")
    difference = won = "-"
    paired = [(one, other) for one in own for other in reference if one["seed"] == other["seed"]]
    if augment != REFERENCE and paired:
        mine, theirs = (_by_picture(runs) for runs in zip(*paired, strict=True))
        found = difference_interval(list(mine.values()), [theirs[name] for name in mine])
        difference = _interval(found, "+")
        pairs = [
            (one["validation_accuracy"], other["validation_accuracy"]) for one, other in paired
        ]
        won = f"{sum(one > other for one, other in pairs)} of {len(pairs)}"
        ties = sum(one == other for one, other in pairs)
        won += f", {ties} tied" if ties else ""
    kept = [entry["kept"] for entry in own if entry["kept"] is not None]
    return (
        *(BUDGETS[budget], TITLES[augment], accuracy, difference, won),
        *(f"{_mean(own, 'pictures'):,.0f}", f"{_mean(own, 'augmented'):,.0f}"),
        f"{np.mean(kept):.0%}" if kept else "-",
        f"{_mean(own, 'forward_passes'):,.0f}",
        f"{_mean(own, 'cpu_s'):,.0f} s",
    )


def _runs(experiment: Experiment, augment: str, budget: Unit) -> list[Entry]:
    """Return the runs of an arm by seed; Group-CAM's are the same in both budgets."""
    unit = "pictures" if augment == TREATMENT else budget
    own = [one for one in experiment.entries if (one["augment"], one["unit"]) == (augment, unit)]
    return sorted(own, key=lambda one: one["seed"])


def _by_picture(runs: Sequence[Entry]) -> dict[int, float]:
    """Return in which part of the runs that held it out each picture was recognised."""
    found: dict[int, list[bool]] = defaultdict(list)
    for entry in runs:
        for place, sign in enumerate(entry["right_pictures"]):
            if sign != "-":
                found[place].append(sign == "1")
    return {place: float(np.mean(values)) for place, values in sorted(found.items())}


def _entry(arm: FinetuneSettings, data: ClassFolders, last: Entry) -> Entry:
    """Return a run's entry; `right_pictures` has a sign for each picture of the folder, by name."""
    pictures = sorted(one.name for one in (*data.training, *data.validation))
    right = dict(zip((one.name for one in data.validation), last["right_pictures"], strict=True))
    return {
        **{"seed": arm.seed, "augment": arm.augment, "unit": arm.unit, "length": arm.length},
        **{name: last[name] for name in COPIED},
        "right_pictures": "".join(right.get(name, "-") for name in pictures),
    }


def _card(settings: FinetuneSettings, data: ClassFolders) -> dict[str, Any]:
    """Return what all runs share."""
    card = card_of(settings, data)
    for name in ("seed", "split", "augment"):
        del card["settings"][name]
    return {"experiment": "augmentation", **card}


def _key(entry: Entry) -> tuple[int, str, str]:
    return entry["seed"], entry["augment"], entry["unit"]


def _open(folder: Path, settings: FinetuneSettings, split: int) -> ClassFolders:
    return open_class_folders(folder, settings.held_out, split, kinds=settings.kinds)


def _protocol(card: dict[str, Any], seeds: int) -> str:
    settings, data = card["settings"], card["data"]
    config = settings["group_cam"]
    parts = f"modules {', '.join(settings['trained'])}" if settings["trained"] else "all modules"
    size = f"{settings['input_size']} px" if settings["input_size"] else "its own input size"
    kinds = "kinds of things" if settings["kinds"] else "classes"
    return (
        f"{settings['backbone']} at {size}, {parts} and a new classifier trained on "
        f"{data['training']} pictures of {len(data['classes'])} {kinds}, evaluated on "
        f"{data['validation']} others; {seeds} seeds, each with its own held-out part. "
        f"{settings['length']} {settings['unit']}, batches of {settings['batch_size']}, "
        f"{settings['optimizer']} at {settings['learning_rate']}, {settings['schedule']} schedule. "
        f"A picture is augmented with probability {settings['probability']}, mask "
        f"'{settings['edge']}', G = {config['groups']}, layer "
        f"{settings['target_layer'] or 'default'}, blur sigma {config['blur_sigma_px']} px."
    )


def _mean(runs: Sequence[Entry], name: str) -> float:
    return float(np.mean([entry[name] for entry in runs]))


def _interval(found: Interval, sign: str) -> str:
    """Return an interval in percent (points)."""
    value, low, high = (f"{100 * one:{sign}.1f}" for one in (found.value, found.low, found.high))
    return f"{value} % [{low}, {high}]"
