"""A small data set, a tiny network in every backbone's place, and processes that die."""

import functools
import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from groupcam.evaluate import run
from groupcam.evaluate.data_sets import DataSet, Sample, open_data_set
from groupcam.evaluate.one_picture import Subject, evaluate_picture
from groupcam.evaluate.run import Results, evaluate_steps
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.evaluate.summary import summarise
from groupcam.evaluate.tables import as_csv
from groupcam.evaluate.workers import joined_workers
from groupcam.models import Backbone
from groupcam.steps import finish
from tests.support import TinyCnn, as_backbone

TINY = EvaluateSettings(
    methods=("group_cam:groups=2", "grad_cam", "random"),
    metrics=("insertion", "over_all"),
    layers=("features.3",),
    steps=2,
    prepare=False,
)


def tiny_backbone(*_: object) -> Backbone:
    """Stand in for `load_backbone`: the same network every time, for any name."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = TinyCnn()
    network.head.weight.data *= 30  # so that a mask changes the probabilities clearly
    return as_backbone(network)


def write_picture(path: Path, seed: int, size: tuple[int, int] = (40, 48)) -> None:
    """Write a picture of coloured blobs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(path)


def plain_folder(folder: Path, pictures: int = 6) -> DataSet:
    """Make a folder of pictures, of which the second is damaged."""
    for number in range(pictures):
        write_picture(folder / f"{number}.png", number)
    (folder / "1.png").write_bytes(b"no picture")
    return open_data_set(folder)


def evaluate(
    data: DataSet, out: Path, settings: EvaluateSettings = TINY, **options: Any
) -> Results:
    """Evaluate in this process; the tiny network must be in place already."""
    results = finish(evaluate_steps(data, settings, out, **options))
    assert results is not None
    return results


def table(results: Results) -> str:
    """Return the table with all digits."""
    return as_csv(summarise(results, "grad_cam"))


# --- other processes ---------------------------------------------------------------------------


@functools.cache
def _context() -> Any:
    """Return what starts processes from one that has imported all this and done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def start_process(
    folder: Path, out: Path, *, die_at: int | None = None, worker: Mapping[str, str] | None = None
) -> Any:
    """Start an evaluation in a process of its own.

    Args:
        folder: of the pictures.
        out: of the results.
        die_at: in the middle of this picture of its own, from 0, it is killed as by `kill -9`.
        worker: what torchrun says to a worker; None lets it work alone.
    """
    process = _context().Process(target=_evaluate_here, args=(folder, out, die_at, worker))
    process.start()
    return process


def worker_environments(count: int) -> list[dict[str, str]]:
    """Return what torchrun would say to each of some workers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for rank in range(count)
    ]


def _evaluate_here(
    folder: Path, out: Path, die_at: int | None, worker: Mapping[str, str] | None
) -> None:
    os.environ.update(worker or {})
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_backbone", tiny_backbone)
        with joined_workers() as workers, _dying(patch, die_at):
            finish(evaluate_steps(open_data_set(folder), TINY, out, workers))


@contextmanager
def _dying(patch: pytest.MonkeyPatch, die_at: int | None) -> Iterator[None]:
    """Let this process be killed when it is at a picture."""
    calls = iter(range(10**6))

    def evaluate_or_die(subject: Subject, sample: Sample) -> dict[str, Any]:
        if next(calls) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate_picture(subject, sample)

    patch.setattr(run, "evaluate_picture", evaluate_or_die)
    yield
