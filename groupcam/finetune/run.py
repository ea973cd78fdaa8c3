"""A training from its first step to its last, by one process or several, killed or not.

In the folder of a training lie `metrics.jsonl`, a line an evaluation; `last.pt`, from which the
same command goes on; and `weights.safetensors`, which `load_backbone` takes.
"""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from groupcam.augment import SaliencyAugment
from groupcam.errors import GroupCamError
from groupcam.evaluate.journal import Entry, Journal, read_entries, read_header
from groupcam.evaluate.settings import differences
from groupcam.evaluate.workers import Workers
from groupcam.finetune.data import (
    ClassFolders,
    Places,
    TrainingPictures,
    ValidationPictures,
    seed_of,
)
from groupcam.finetune.network import load_learner
from groupcam.finetune.settings import FinetuneSettings, card_of
from groupcam.models.checkpoints import CLASS_NAMES
from groupcam.models.logits import logits_of

METRICS_FILE, CHECKPOINT_FILE, WEIGHTS_FILE = "metrics.jsonl", "last.pt", "weights.safetensors"

ALONE = Workers()
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# The schedule's own unit: it runs over the length, whatever that is counted in.
SCHEDULE_POINTS = 10_000


@dataclass(frozen=True)
class Progress:
    """How far a training is, in the unit of its length; `entry` after an evaluation."""

    spent: int
    budget: int
    entry: Entry | None = None
    left_s: float | None = None  # as far as can be told


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training."""

    card: dict[str, Any]
    # One an evaluation; if there are several, another one comes before the first step.
    entries: tuple[Entry, ...]


@dataclass
class Totals:
    """What was done since the first step, by all processes together."""

    steps: int = 0
    pictures: int = 0
    augmented: int = 0
    forward_passes: int = 0
    backward_passes: int = 0
    kept: float = 0.0  # sum of the masks' means, of augmented pictures
    loss: float = 0.0  # sum over the pictures
    right: int = 0  # pictures that were recognised while training
    seconds: float = 0.0  # of steps, of the slowest process
    augmenting_s: float = 0.0  # part of these
    cpu_s: float = 0.0  # of processors, in steps: nothing else on the machine counts


def finetune_steps(
    data: ClassFolders,
    settings: FinetuneSettings,
    out: Path,
    workers: Workers = ALONE,
    *,
    readers: int = 0,
) -> Generator[Progress, None, Trained]:
    """Train, or go on where an earlier call was stopped; closing the generator stops.

    Args:
        data: the pictures.
        settings: of the training.
        out: folder of the results, which must exist, on a disk that all processes see.
        workers: this process and the others.
        readers: processes that read pictures for this one; 0: none, it reads itself.

    Yields:
        Progress after every step and evaluation.

    Raises:
        GroupCamError: the folder's results are of other settings; a setting does not fit the
            network or the pictures; the loss is not finite.
        WeightsUnavailableError: weights must be downloaded and cannot be.
    """
    if settings.batch_size % workers.count:
        raise GroupCamError(
            f"batch_size must be a multiple of the processes, {workers.count}; "
            f"got {settings.batch_size}."
        )
    card, budget = card_of(settings, data), settings.budget(data)
    finished = finished_training(out / METRICS_FILE, card)
    if finished is not None:
        yield Progress(budget, budget, finished.entries[-1])
        return finished
    training = Training(data, settings, workers, readers)
    training.load(out / CHECKPOINT_FILE)
    begun, begun_at = training.spent, time.monotonic()
    with _journal(out / METRICS_FILE, card, training.totals.steps, workers) as journal:
        if training.totals.steps == 0 and settings.evaluations > 1:
            yield Progress(0, budget, journal.add(training.evaluate()))
        for before, spent in training.run():
            part = (spent - begun) / (time.monotonic() - begun_at)  # a second
            left_s = max(0, budget - spent) / part
            if spent * settings.evaluations // budget == before * settings.evaluations // budget:
                yield Progress(spent, budget, None, left_s)
                continue
            entry = journal.add(training.evaluate(is_last=spent >= budget))
            if workers.is_first:
                training.save(out)
            yield Progress(spent, budget, entry, left_s)
        return Trained(card, tuple(journal.entries))


def finished_training(metrics: Path, card: Entry) -> Trained | None:
    """Return the results of a training that came to its end, or None.

    Raises:
        GroupCamError: the file is of other settings.
    """
    header = read_header(metrics)
    if header is None:
        return None
    if header != card:
        raise GroupCamError(
            f"{metrics.name} must have been written with these settings to go on with; it differs "
            f"in {', '.join(differences(header, card))}. Give the same settings, or another folder."
        )
    entries = read_entries(metrics)
    is_finished = bool(entries) and "right_pictures" in entries[-1]
    return Trained(header, tuple(entries)) if is_finished else None


class Training:
    """A network that learns, with all that belongs to its training."""

    def __init__(
        self, data: ClassFolders, settings: FinetuneSettings, workers: Workers, readers: int = 0
    ) -> None:
        """Take what `finetune_steps` takes, and load the network."""
        self.settings, self.workers, self.data = settings, workers, data
        self._readers = readers
        self.device = torch.device(_device_of(settings.device, workers))
        if self.device.index is not None:
            torch.cuda.set_device(self.device)  # where NCCL talks
        self.learner = load_learner(
            settings.backbone,
            settings.weights,
            data.classes,
            parts=settings.trained,
            input_size=settings.input_size,
            seed=seed_of(settings.seed, "classifier"),
            device=self.device,
        )
        self.network = self.learner.backbone.network
        self.labels = torch.tensor(self.learner.labels)  # (folders,)
        self.optimizer = create_optimizer_v2(
            self.network,
            settings.optimizer,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
        )
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer,
            settings.schedule,
            num_epochs=SCHEDULE_POINTS,
            updates_per_epoch=1,
            decay_epochs=SCHEDULE_POINTS * 3 // 4,  # of "step": to a tenth, once
            warmup_epochs=round(settings.warmup * SCHEDULE_POINTS),
            warmup_lr=settings.learning_rate / 10,
            step_on_epochs=False,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.amp == "float16")
        self.ema = None
        if settings.ema_decay is not None:
            self.ema = ModelEmaV3(self.network, decay=settings.ema_decay)
        self.augment = None
        if settings.augment_config is not None:
            # Chosen once, by the weights to begin with: not anew after a kill.
            size = self.learner.backbone.preprocessing.input_size
            first = SaliencyAugment(
                self.network, settings.augment_config, target_layer=settings.target_layer
            )
            layer = first.explained_layer(size) if settings.augment == "group_cam" else None
            self.augment = SaliencyAugment(
                self.network, settings.augment_config, target_layer=layer
            )
        self.wrapped: nn.Module = self.network
        self.totals = Totals()
        self._told = Totals()  # at the last evaluation

    @property
    def spent(self) -> int:
        """Return how much of the budget is spent."""
        if self.settings.unit == "forwards":
            return self.totals.forward_passes
        return self.totals.pictures

    @property
    def evaluated(self) -> nn.Module:
        """Return the network that is evaluated and kept: the running mean where there is one."""
        return self.network if self.ema is None else self.ema.module

    def run(self) -> Iterator[tuple[int, int]]:
        """Make the steps that the budget has left; yields what was spent before and after each."""
        settings, workers = self.settings, self.workers
        if workers.count > 1:
            self.wrapped = DistributedDataParallel(self.network)
        view = self.learner.backbone.preprocessing
        loader = DataLoader(
            TrainingPictures(self.data.training, view, settings.smallest_crop, settings.seed),
            batch_sampler=Places(
                self.totals.steps, settings.batch_size, workers.rank, workers.count
            ),
            num_workers=self._readers,
            generator=torch.Generator(),  # not the process's own; nothing is drawn here
        )
        budget = settings.budget(self.data)
        batches = iter(loader)
        while self.spent < budget:
            before = self.spent
            images, places, numbers = next(batches)
            self.step(images.to(self.device), self.labels[places].to(self.device), numbers)
            yield before, self.spent

    def step(self, images: Tensor, labels: Tensor, numbers: Tensor) -> None:
        """Learn from one batch.

        Args:
            images: this process's part, (N, 3, H, W).
            labels: the network's classes, (N,).
            numbers: random ones of the augmentation, (N, NUMBERS).
        """
        settings, totals = self.settings, self.totals
        started, cpu_started = time.perf_counter(), time.process_time()
        done = Totals(1, len(images), 0, len(images), len(images))
        if self.augment is not None:
            found = self.augment.augment(images, labels, numbers)
            images = found.images
            done.augmented = int(found.is_augmented.sum())
            done.kept = float(found.mask.mean(dim=(1, 2))[found.is_augmented].sum())
            done.forward_passes += found.forward_passes
            done.backward_passes += found.backward_passes
        done.augmenting_s = time.perf_counter() - started

        budget = settings.budget(self.data)
        self.scheduler.step_update(int(SCHEDULE_POINTS * self.spent / budget))
        self.learner.set_modes()
        with _seeded(self.device, seed_of(settings.seed, totals.steps, self.workers.rank)):
            with self._autocast():
                logits = logits_of(self.wrapped(images), len(images))
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.network, step=totals.steps)
        done.loss = float(loss.detach()) * len(images)
        done.right = int((logits.argmax(dim=1) == labels).sum())
        done.seconds = time.perf_counter() - started
        done.cpu_s = time.process_time() - cpu_started
        self._add(done)

    def _add(self, done: Totals) -> None:
        """Add what all processes did in one step."""
        names = [field.name for field in fields(Totals)]
        values = torch.tensor([getattr(done, name) for name in names], dtype=torch.float64)
        if self.workers.count > 1:
            slowest = torch.tensor([done.seconds, done.augmenting_s], dtype=torch.float64)
            dist.all_reduce(values)
            dist.all_reduce(slowest, dist.ReduceOp.MAX)
            values[0] = 1
            values[names.index("seconds")], values[names.index("augmenting_s")] = slowest
        for name, value in zip(names, values.tolist(), strict=True):
            kind = type(getattr(self.totals, name))
            setattr(self.totals, name, getattr(self.totals, name) + kind(value))
        if not torch.isfinite(values).all():
            raise GroupCamError(
                f"The loss must stay finite; it is not after {self.totals.steps} steps. Choose a "
                "smaller learning_rate."
            )

    @torch.no_grad()
    def evaluate(self, *, is_last: bool = False) -> Entry:
        """Return an entry of the metrics: what was done so far, and what the network can do."""
        loader = DataLoader(
            ValidationPictures(self.data.validation, self.learner.backbone.preprocessing),
            batch_size=self.settings.batch_size,
            sampler=range(self.workers.rank, len(self.data.validation), self.workers.count),
            num_workers=self._readers,
            generator=torch.Generator(),
        )
        network = self.evaluated
        network.eval()
        if self.workers.count > 1:
            for buffer in network.buffers():  # each process has the statistics of its own part
                dist.broadcast(buffer, 0)
        right: dict[int, bool] = {}
        loss, place = 0.0, self.workers.rank
        for images, places in loader:
            labels = self.labels[places].to(self.device)
            with self._autocast():
                logits = logits_of(network(images.to(self.device)), len(images)).float()
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            for is_right in (logits.argmax(dim=1) == labels).tolist():
                right[place] = is_right
                place += self.workers.count
        if self.workers.count > 1:
            parts: list[Any] = [None] * self.workers.count
            dist.all_gather_object(parts, (loss, right))
            loss = sum(part[0] for part in parts)
            right = {place: value for part in parts for place, value in part[1].items()}
        totals = asdict(self.totals)
        latest = {name: totals[name] - before for name, before in asdict(self._told).items()}
        seen, augmented = latest["pictures"], latest["augmented"]
        self._told = replace(self.totals)
        entry: Entry = {
            **{name: totals[name] for name in ("steps", "pictures", "augmented")},
            **{name: totals[name] for name in ("forward_passes", "backward_passes")},
            "epochs": totals["pictures"] / len(self.data.training),
            # Means since the last evaluation.
            "kept": latest["kept"] / augmented if augmented else None,
            "loss": latest["loss"] / seen if seen else None,
            "accuracy": latest["right"] / seen if seen else None,
            "validation_loss": loss / len(right),
            "validation_accuracy": sum(right.values()) / len(right),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": totals["seconds"],
            "augmenting_s": totals["augmenting_s"],
            "cpu_s": totals["cpu_s"],
        }
        if is_last:
            # Which pictures are recognised: 1 or 0 each, in the order of their names.
            entry["right_pictures"] = "".join(str(int(right[place])) for place in sorted(right))
        return entry

    def save(self, out: Path) -> None:
        """Write the checkpoint and the weights, each at once."""
        state = {
            "state_dict": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "totals": asdict(self.totals),
        }
        partial = out / f".{CHECKPOINT_FILE}.partial"
        torch.save(state, partial)
        weights = {name: value.contiguous() for name, value in self.evaluated.state_dict().items()}
        partial_weights = out / f".{WEIGHTS_FILE}.partial"
        names = json.dumps(self.learner.backbone.class_names, ensure_ascii=False)
        safetensors.torch.save_file(weights, partial_weights, {CLASS_NAMES: names})
        partial_weights.replace(out / WEIGHTS_FILE)
        partial.replace(out / CHECKPOINT_FILE)

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint, if there is one."""
        if not checkpoint.exists():
            return
        state = torch.load(checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["state_dict"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.totals = Totals(**state["totals"])
        self._told = replace(self.totals)

    def _autocast(self) -> torch.autocast:
        dtype = DTYPES.get(self.settings.amp)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)


class _Metrics:
    """The entries of a training; on all processes but the first they are kept in memory only."""

    def __init__(self, journal: Journal | None, entries: list[Entry]) -> None:
        self._journal = journal
        self.entries = entries

    def add(self, entry: Entry) -> Entry:
        """Write down one entry, and return it."""
        if self._journal is not None:
            self._journal.add(entry)
        self.entries.append(entry)
        return entry


@contextmanager
def _journal(path: Path, card: Entry, steps: int, workers: Workers) -> Iterator[_Metrics]:
    """Open the metrics at the checkpoint: what was written after it is to be made again."""
    found = read_entries(path) if steps and path.exists() else []
    kept = [one for one in found if one["steps"] <= steps]
    if not workers.is_first:
        yield _Metrics(None, kept)
        return
    with Journal(path, card) as journal:
        journal.keep(kept)
        yield _Metrics(journal, kept)


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Draw what a network draws, as dropout does, from a seed; the global state is kept."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _device_of(device: str, workers: Workers) -> str:
    """Return where this process computes: of several GPUs of a machine, each has its own."""
    if device == "cuda" and workers.count > 1:
        return f"cuda:{workers.local_rank % max(1, torch.cuda.device_count())}"
    return device
