"""A small folder of classes, a small network, and processes that die."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from groupcam.evaluate.journal import Entry
from groupcam.evaluate.workers import joined_workers
from groupcam.finetune.data import ClassFolders, open_class_folders
from groupcam.finetune.run import Trained, Training, finetune_steps
from groupcam.finetune.settings import FinetuneSettings
from groupcam.saliency import GroupCamConfig
from groupcam.steps import finish

SMALL = FinetuneSettings(
    backbone="timm/test_resnet",
    weights=None,
    input_size=64,
    augment="group_cam",
    group_cam=GroupCamConfig(groups=4),
    length=2,
    batch_size=6,
    evaluations=2,
    held_out=0.25,
)

TIMES = ("seconds", "augmenting_s", "cpu_s")


def write_classes(folder: Path, classes: int = 3, pictures: int = 8) -> Path:
    """Write pictures of coloured blobs, of a red, a green and a blue class."""
    for label in range(classes):
        for number in range(pictures):
            path = folder / f"kind {label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = np.random.default_rng([label, number]).integers(0, 160, (5, 5, 3))
            coarse[..., label] += 90
            picture = Image.fromarray(coarse.astype(np.uint8))
            picture.resize((72, 66), Image.Resampling.BICUBIC).save(path)
    return folder


def opened(folder: Path, settings: FinetuneSettings = SMALL) -> ClassFolders:
    return open_class_folders(folder, settings.held_out, settings.split)


def finetuned(folder: Path, out: Path, settings: FinetuneSettings = SMALL) -> Trained:
    """Train in this process, in a folder of its own."""
    out.mkdir(exist_ok=True)
    return finish(finetune_steps(opened(folder, settings), settings, out))


def curve(trained: Trained) -> list[Entry]:
    """Return the entries without what depends on the machine."""
    return [
        {name: value for name, value in entry.items() if name not in TIMES}
        for entry in trained.entries
    ]


# --- other processes -----------------------------------------------------------------------------


@functools.cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def start_process(
    folder: Path,
    out: Path,
    settings: FinetuneSettings = SMALL,
    *,
    die_at: int | None = None,
    worker: Mapping[str, str] | None = None,
) -> Any:
    """Start a training in a process of its own.

    Args:
        folder: of the pictures.
        out: of the results, which must exist.
        settings: of the training.
        die_at: before this step of its own, from 0, it is killed as by `kill -9`.
        worker: what torchrun says to a worker; None lets it work alone.
    """
    arguments = (folder, out, settings, die_at, worker)
    process = _context().Process(target=_train_here, args=arguments)
    process.start()
    return process


def _train_here(
    folder: Path,
    out: Path,
    settings: FinetuneSettings,
    die_at: int | None,
    worker: Mapping[str, str] | None,
) -> None:
    os.environ.update(worker or {})
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, joined_workers() as workers, _dying(patch, die_at):
        finish(finetune_steps(opened(folder, settings), settings, out, workers))


@contextmanager
def _dying(patch: pytest.MonkeyPatch, die_at: int | None) -> Iterator[None]:
    """Let this process be killed when it is at a step."""
    learn = Training.step
    calls = iter(range(10**6))

    def learn_or_die(training: Training, images: Tensor, labels: Tensor, numbers: Tensor) -> None:
        if next(calls) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        learn(training, images, labels, numbers)

    patch.setattr(Training, "step", learn_or_die)
    yield
