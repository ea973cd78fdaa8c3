"""The memory that one explanation takes: the peak above what was there before it."""

import contextlib
import ctypes
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from groupcam.evaluate.bench.contenders import OURS, Run, explainers, load_subject
from groupcam.evaluate.bench.pictures import made_up_inputs

MIB = 2**20
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # man 5 proc, /proc/PID/clear_refs


def peak_mib(
    name: str, contender: str, groups: int, device: str, size: int | None = None
) -> float | None:
    """Return the memory that explaining one picture takes, in MiB, in a process of its own.

    On the CPU the growth of the resident memory, on CUDA that of the device's allocations; None
    where neither can be told, as on systems without /proc.
    """
    # A fresh process: what an earlier contender gave back may still belong to the process.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        threads = torch.get_num_threads()
        return pool.submit(_measure, name, contender, groups, device, size, threads).result()


def _measure(
    name: str, contender: str, groups: int, device: str, size: int | None, threads: int
) -> float | None:
    """Load a network, explain a picture by one contender, and return the peak."""
    torch.set_num_threads(threads)
    subject = load_subject(name, device, size, is_prepared=contender == OURS)
    inputs = made_up_inputs(subject.eager)
    return growth_mib(explainers(subject, groups)[contender], inputs)


def growth_mib(run: Run, picture: torch.Tensor) -> float | None:
    """Return by how much the memory of this process grows at most while it runs."""
    if picture.is_cuda:
        torch.cuda.reset_peak_memory_stats(picture.device)
        before = torch.cuda.memory_allocated(picture.device)
        run(picture)
        return (torch.cuda.max_memory_allocated(picture.device) - before) / MIB
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what is free would hide growth
    try:
        STATUS.with_name("clear_refs").write_text(RESET_PEAK)
        before_kib = _kib("VmRSS")
        run(picture)
        return (_kib("VmHWM") - before_kib) * 1024 / MIB
    except OSError:
        return None


def _kib(field: str) -> int:
    """Return a number of kiB that Linux tells of this process."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"{STATUS} has no {field}")
