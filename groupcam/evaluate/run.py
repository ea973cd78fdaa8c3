"""An evaluation from its first picture to its last, by one process or many, stopped or not.

Every process writes the entries of its own pictures into its own journal: OUT.jsonl for one that
works alone, OUT.rank0.jsonl and so on for workers. Whoever starts reads all of them, so nothing
that was finished is done again, by whichever process and however many there were.
"""

import glob
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import DataSet, Sample
from groupcam.evaluate.journal import Entry, Journal, read_entries, read_header, rewrite_journal
from groupcam.evaluate.mosaics import Mosaics
from groupcam.evaluate.one_picture import Subject, evaluate_picture, wordnet_ids_of
from groupcam.evaluate.settings import EvaluateSettings, differences, protocol_card
from groupcam.evaluate.workers import Workers
from groupcam.models import load_backbone, resolve_target_layer
from groupcam.saliency import engine

Key = tuple[str, str, str | None]
ALONE = Workers()


@dataclass(frozen=True)
class Unit:
    """What one entry is about."""

    backbone: str
    layer: str | None  # as asked for; None: the default one
    sample: Sample

    @property
    def key(self) -> Key:
        """Return what tells its entry from others."""
        return self.sample.name, self.backbone, self.layer


@dataclass(frozen=True)
class Progress:
    """How far this process is with its own part."""

    done: int
    total: int
    finished_before: int  # by earlier runs, of all units


@dataclass(frozen=True, eq=False)
class Results:
    """What is known of a data set: the header of the journals and one entry a unit."""

    card: dict[str, Any]
    settings: EvaluateSettings
    entries: tuple[Entry, ...]  # in the order of the units


def evaluate_steps(
    data: DataSet,
    settings: EvaluateSettings,
    out: Path,
    workers: Workers = ALONE,
    *,
    retry_failed: bool = False,
) -> Generator[Progress, None, Results | None]:
    """Evaluate what is not finished yet; closing the generator stops after the present picture.

    Args:
        data: all pictures of the folder; `settings` may choose a part.
        settings: what is measured.
        out: the file of the results, of any suffix; its folder must exist.
        workers: this process and the others.
        retry_failed: whether pictures that failed, as a whole or with a method, are tried again.

    Yields:
        Progress, first before the first picture, then after each.

    Returns:
        All results; None on all workers but the first.

    Raises:
        GroupCamError: the files are of other settings; a backbone or layer is unknown; a worker
            is gone.
        WeightsUnavailableError: weights must be downloaded and cannot be.
    """
    settings.check_against(data)
    chosen = data.part(settings.half, settings.limit)
    if not chosen.samples:
        raise GroupCamError(
            f"There must be pictures left to evaluate; half '{settings.half}' "
            "of the folder has none. Choose the other half."
        )
    card = protocol_card(settings, chosen)
    units = [
        Unit(backbone, layer, sample)
        for backbone in settings.backbones
        for layer in settings.layers_of(backbone)
        for sample in chosen.samples
    ]
    entries = _read_all(out, card)
    wanted = {unit.key for unit in units}
    finished = workers.agree_on(
        [key for key, entry in entries.items() if not (retry_failed and has_failed(entry))]
    )
    pending = [unit for unit in units if unit.key not in finished]
    mine = pending[workers.rank :: workers.count]
    yield Progress(0, len(mine), len(units) - len(pending))
    with Journal(journal_path(out, workers), card) as journal:
        with closing(_entries(mine, chosen, settings, workers)) as new_entries:
            for done, (unit, entry) in enumerate(new_entries, start=1):
                journal.add(entry)
                entries[unit.key] = entry
                yield Progress(done, len(mine), len(units) - len(pending))
        gathered = workers.hand_over({key: one for key, one in entries.items() if key in wanted})
    if not workers.is_first:
        return None
    missing = [unit for unit in units if unit.key not in gathered]
    if missing:
        raise GroupCamError(
            f"Every picture must have its entry; {len(missing)} have none, such as "
            f"{missing[0].sample.name}. Run the same command again."
        )
    ordered = tuple(gathered[unit.key] for unit in units)
    _join_journals(out, card, ordered)
    return Results(card, settings, ordered)


def has_failed(entry: Entry) -> bool:
    """Return whether a picture failed, as a whole or with a method."""
    return "error" in entry or any("error" in one for one in entry["methods"].values())


def journal_path(out: Path, workers: Workers) -> Path:
    """Return the file that this process writes."""
    return out.with_suffix(".jsonl" if workers.count == 1 else f".rank{workers.rank}.jsonl")


def _read_all(out: Path, card: Entry) -> dict[Key, Entry]:
    """Return the entries of all journals by key.

    Raises:
        GroupCamError: they are of other settings.
    """
    entries: dict[Key, Entry] = {}
    for path in _journals(out):
        header = read_header(path)
        if header is None:
            continue
        if header != card:
            raise GroupCamError(
                f"{path.name} must have been written with these settings to go on with; it "
                f"differs in {', '.join(differences(header, card))}. Give the same settings, or "
                "another file."
            )
        for entry in read_entries(path):
            key = (entry["picture"], entry["backbone"], entry["layer"])
            if key not in entries or has_failed(entries[key]):
                entries[key] = entry
    return entries


def _journals(out: Path) -> list[Path]:
    """Return the journals that are there: of a lone process, and of workers."""
    alone = out.with_suffix(".jsonl")
    shards = sorted(out.parent.glob(f"{glob.escape(out.stem)}.rank*.jsonl"))
    return [path for path in (alone, *shards) if path.exists()]


def _join_journals(out: Path, card: Entry, entries: tuple[Entry, ...]) -> None:
    """Make one journal of several; a kill in between leaves all entries where they can be read."""
    alone = out.with_suffix(".jsonl")
    journals = _journals(out)
    if journals != [alone]:
        rewrite_journal(alone, card, list(entries))
        for shard in journals:
            if shard != alone:
                shard.unlink()


def _entries(
    units: list[Unit], data: DataSet, settings: EvaluateSettings, workers: Workers
) -> Generator[tuple[Unit, Entry], None, None]:
    """Evaluate units, which come ordered by backbone and layer."""
    for name, of_backbone in groupby(units, lambda unit: unit.backbone):
        yield from _entries_of(name, of_backbone, data, settings, workers)


def _entries_of(
    name: str, units: Iterable[Unit], data: DataSet, settings: EvaluateSettings, workers: Workers
) -> Generator[tuple[Unit, Entry], None, None]:
    """Evaluate the units of one backbone, which is freed afterwards."""
    backbone = load_backbone(name, settings.weights, device_of(settings, workers))
    if settings.prepare:
        engine.prepare(backbone)
    mosaics = Mosaics(backbone, data.samples, wordnet_ids_of(backbone), settings.view)
    for wanted, of_layer in groupby(units, lambda unit: unit.layer):
        layer = resolve_target_layer(backbone, wanted)
        subject = Subject(backbone, layer.name, settings, mosaics)
        for unit in of_layer:
            about = {"picture": unit.sample.name, "backbone": name, "layer": wanted}
            yield unit, {**about, **evaluate_picture(subject, unit.sample)}


def device_of(settings: EvaluateSettings, workers: Workers) -> str:
    """Return where this process computes: of several GPUs of a machine, each worker has its own."""
    if settings.device == "cuda" and workers.count > 1:
        return f"cuda:{workers.local_rank % max(1, torch.cuda.device_count())}"
    return settings.device
