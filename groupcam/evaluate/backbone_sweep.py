"""Many backbones checked, each in a process of its own; what is finished is kept on disk.

A backbone that raises, hangs, crashes or eats the memory becomes a row that says so, and the
sweep goes on. A later run into the same folder checks again only what is missing or not ok.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision

import groupcam
from groupcam.evaluate.backbone_check import shortened
from groupcam.evaluate.journal import Journal, read_entries, read_header
from groupcam.models.families import (
    ArchitectureSize,
    CheckedBackbone,
    Verdict,
    families,
    family_of,
    parameters_of,
)
from groupcam.models.libraries import LIBRARIES

SIZES_FILE = "sizes.jsonl"
CHECKS_FILE = "checks.jsonl"
CHECK_COMMAND = (sys.executable, "-m", "groupcam.evaluate.backbone_check")
DEFAULT_TIMEOUT_S = 3600  # the largest vision transformers take most of it on one core

Progress = tuple[int, int]  # done, in all


def cores() -> int:
    """Return how many threads torch would use: the cores, or OMP_NUM_THREADS."""
    return torch.get_num_threads()


@contextlib.contextmanager
def _kept(path: Path) -> Iterator[tuple[Journal, dict[str, Any]]]:
    """Give a journal of the present versions and its results by name; others are removed."""
    versions = {
        module.__name__: module.__version__ for module in (groupcam, timm, torch, torchvision)
    }
    header = {"versions": versions}
    if read_header(path) not in (None, header):
        path.unlink()
    with Journal(path, header) as journal:
        yield journal, {result["name"]: result for result in read_entries(path)}


def size_steps(folder: Path) -> Generator[Progress, None, list[ArchitectureSize]]:
    """Measure every architecture of both libraries.

    Returns:
        One row an architecture, by library, family and name.
    """
    names = [name for members in families().values() for name in members]
    with _kept(folder / SIZES_FILE) as (journal, results):
        for done, name in enumerate(names):
            yield done, len(names)
            if name not in results:
                results[name] = dataclasses.asdict(measure(name))
                journal.add(results[name])
    yield len(names), len(names)
    return [ArchitectureSize(**results[name]) for name in names]


def measure(name: str) -> ArchitectureSize:
    """Return the size of an architecture, which is built without weights where that can be."""
    library, _, architecture = name.partition("/")
    build = LIBRARIES[library].build
    try:
        try:
            with torch.device("meta"):  # shapes without values: no time, no memory
                network = build(architecture, None)
        except (NotImplementedError, RuntimeError):
            # Some initialisations ask for values (torchvision's RegNet).
            network = build(architecture, None)
    except (MemoryError, RuntimeError):
        return ArchitectureSize(name, family_of(name) or "", None)
    return ArchitectureSize(
        name=name,
        family=family_of(name) or "",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        # timm's encoders say 0, although as many classes as ImageNet has are asked for.
        is_classifier=getattr(network, "num_classes", None) != 0,
    )


def sweep_names(sizes: Sequence[ArchitectureSize]) -> list[str]:
    """Return what stands for all: the smallest classifier of each timm family, all of torchvision.

    A family without any classifier is stood for by its smallest member.
    """
    by_name = {size.name: size for size in sizes}

    def rank(name: str) -> tuple[bool, float, str]:
        size = by_name[name]
        count = float("inf") if size.parameters is None else size.parameters
        return not size.is_classifier, count, name

    names: list[str] = []
    for (library, _), members in families().items():
        names += [min(members, key=rank)] if library == "timm" else members
    return names


def check_steps(
    names: Sequence[str],
    folder: Path,
    *,
    jobs: int,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    command: Sequence[str] = CHECK_COMMAND,
) -> Generator[Progress, None, list[CheckedBackbone]]:
    """Check backbones; those that the folder has as ok already are not run again.

    Closing the generator ends all processes.

    Args:
        names: "library/architecture" each.
        folder: where results are kept; must exist.
        jobs: processes at a time, at least 1; the cores are shared out among them.
        timeout_s: seconds after which a process is ended.
        command: checks the backbone whose name is appended; prints a CheckedBackbone in JSON.

    Returns:
        One row a backbone, in the order of the names.
    """
    with _kept(folder / CHECKS_FILE) as (journal, results):
        waiting = [name for name in names if results.get(name, {}).get("verdict") != "ok"]
        done = len(names) - len(waiting)
        yield done, len(names)
        with contextlib.closing(_run_all(waiting, command, jobs, timeout_s)) as checked:
            for result in checked:
                results[result.name] = dataclasses.asdict(result)
                journal.add(results[result.name])
                done += 1
                yield done, len(names)
    return [CheckedBackbone(**results[name]) for name in names]


def _run_all(
    names: Sequence[str], command: Sequence[str], jobs: int, timeout_s: float
) -> Generator[CheckedBackbone, None, None]:
    """Give results as they come; when the caller stops, running processes are ended."""
    threads = str(max(1, cores() // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    running: set[subprocess.Popen[str]] = set()
    is_over = threading.Event()

    def run(name: str) -> CheckedBackbone:
        with subprocess.Popen(
            [*command, name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            running.add(process)
            if is_over.is_set():  # set while this process started
                process.kill()
            try:
                output, errors = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return _not_checked(name, "timed out", f"took more than {timeout_s:g} s")
            finally:
                running.discard(process)
        return _read_result(name, process.returncode, output, errors)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run, name) for name in names]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            is_over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in tuple(running):
                process.kill()


def _read_result(name: str, code: int, output: str, errors: str) -> CheckedBackbone:
    """Return what a process printed, or why it printed nothing."""
    with contextlib.suppress(json.JSONDecodeError, IndexError, TypeError):
        if code == 0:
            return CheckedBackbone(**json.loads(output.splitlines()[-1]))
    if code == -signal.SIGKILL:
        return _not_checked(
            name, "out of memory", "was killed, as systems do with a process when memory runs out"
        )
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last_words = (errors.strip().splitlines() or ["without a word"])[-1]
    return _not_checked(name, "crashed", f"{how}: {last_words}")


def _not_checked(name: str, verdict: Verdict, reason: str) -> CheckedBackbone:
    return CheckedBackbone(
        family=family_of(name) or "",
        name=name,
        parameters=parameters_of(name),
        verdict=verdict,
        reason=shortened(reason),
    )
