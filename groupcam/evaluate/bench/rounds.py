"""How fast Group-CAM is here, side by side with its plain form, other packages, and the floor.

All contenders explain the same pictures with the same weights at the same layer of one network,
in alternating rounds of one process, so that a busy moment hits them all. Ratios are of the same
round; the spread is that of the rounds.
"""

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from groupcam.evaluate.bench.contenders import (
    FLOOR,
    OURS,
    OURS_EAGER,
    PUBLISHED,
    Run,
    Subject,
    count_gflop,
    curve_makers,
    explainers,
    find_floor,
    load_subject,
    other_methods,
    timed,
)
from groupcam.evaluate.bench.machine import hardware, total_memory_mib, versions
from groupcam.evaluate.bench.memory import peak_mib
from groupcam.evaluate.bench.pictures import read_inputs
from groupcam.evaluate.bench.results import (
    BenchResults,
    BenchSettings,
    GrowthPoint,
    NetworkBench,
    Timing,
)
from groupcam.saliency import GroupCamConfig, engine, explain

LONG_S = 15.0  # a run that takes longer is made once, not in every round
# The plain form holds all masked pictures at once; beyond this share of the machine's memory it
# is left out.
MOST_MEMORY = 0.4


def bench_steps(
    settings: BenchSettings, earlier: BenchResults | None = None
) -> Generator[BenchResults, None, BenchResults]:
    """Measure everything; yields what is there, at first and after every network and point.

    Args:
        settings: what to measure.
        earlier: what a run that was stopped left. It goes on there, if that run had the same
            settings, versions and machine.
    """
    results = BenchResults(
        measured=datetime.now(UTC).date().isoformat(),
        hardware=hardware(settings.device),
        versions=versions(),
        settings=settings,
    )
    if earlier is not None and _goes_on(earlier, results):
        results = dataclasses.replace(results, networks=earlier.networks, growth=earlier.growth)
    yield results
    for name in settings.backbones[len(results.networks) :]:
        networks = (*results.networks, bench_network(name, settings))
        results = dataclasses.replace(results, networks=networks)
        yield results
    for groups, size in growth_points(settings)[len(results.growth) :]:
        point = bench_growth(settings.backbones[0], groups, size, settings)
        results = dataclasses.replace(results, growth=(*results.growth, point))
        yield results
    return results


def progress_of(results: BenchResults) -> tuple[int, int]:
    """Return how much was measured, and of how much."""
    settings = results.settings
    total = len(settings.backbones) + len(growth_points(settings))
    return len(results.networks) + len(results.growth), total


def _goes_on(earlier: BenchResults, begun: BenchResults) -> bool:
    """Return whether an earlier run was the beginning of this one, and did not end."""
    done, total = progress_of(earlier)
    machine = ("device", "processor", "threads", "memory_gib")
    return (
        done < total
        and earlier.settings == begun.settings
        and earlier.versions == begun.versions
        and all(earlier.hardware[name] == begun.hardware[name] for name in machine)
    )


def bench_network(name: str, settings: BenchSettings) -> NetworkBench:
    """Measure one network at its own input size, with the default number of groups."""
    groups = GroupCamConfig().groups
    subject = load_subject(name, settings.device)
    inputs = read_inputs(subject.eager, [Path(file) for file in settings.pictures])
    first = explain(subject.eager, inputs[0], subject.config(groups), subject.layer.name)[0]
    floor = find_floor(subject)
    contenders = {**explainers(subject, groups), FLOOR: floor.runner(groups + 2)}
    if not settings.quick and name == settings.backbones[0]:
        contenders |= other_methods(subject)  # some run thousands of passes on a wide layer
    maps = alternate(contenders, inputs, settings.repeats)
    makers = curve_makers(subject, first.saliency_map, first.class_index)
    curves = alternate(makers, inputs[:1], settings.repeats)
    if not settings.quick:
        for contender in (OURS, OURS_EAGER, PUBLISHED):
            peak = peak_mib(name, contender, groups, settings.device)
            maps[contender] = dataclasses.replace(maps[contender], peak_mib=peak)
    plan = engine.plan_of(subject.prepared)
    size = subject.eager.preprocessing.input_size
    return NetworkBench(
        backbone=name,
        weights=subject.eager.weights.source,
        input_size=size,
        target_layer=subject.layer.name,
        groups=groups,
        forward_passes=first.forward_passes,
        gflop=count_gflop(subject),
        plan=f"{'eager' if plan.graph is None else 'graph'}, {plan.micro_batch} at once",
        prepare_s=subject.prepare_s,
        floor=f"{floor.kind}, {floor.at_once} at once",
        maps=maps,
        curves=curves,
        curve_points=-(-size[0] * size[1] // subject.protocol().pixels_per_step) + 1,
    )


def growth_points(settings: BenchSettings) -> list[tuple[int, int]]:
    """Return the pairs (groups, size) of the growth: one grows while the other stays."""
    if settings.quick:
        return []
    groups, size = GroupCamConfig().groups, min(settings.sizes, default=0)
    points = [(count, size) for count in settings.groups if size]
    return list(dict.fromkeys([*points, *((groups, side) for side in settings.sizes)]))


def bench_growth(name: str, groups: int, size: int, settings: BenchSettings) -> GrowthPoint:
    """Measure one network with another number of groups or size of picture."""
    left_out = None
    try:
        subject = load_subject(name, settings.device, size)
        inputs = read_inputs(subject.eager, [Path(file) for file in settings.pictures])
        explain(subject.eager, inputs[0], subject.config(groups), subject.layer.name)
    # A network of a fixed input size says so in its own way; so do too few channels for groups.
    except (AssertionError, RuntimeError, ValueError) as error:
        return GrowthPoint(name, groups, size, {}, " ".join(str(error).split())[:200])
    contenders = explainers(subject, groups)
    del contenders[OURS_EAGER]
    if plain_form_mib(subject, groups) > MOST_MEMORY * total_memory_mib(settings.device):
        left_out = f"the {PUBLISHED} would need too much memory"
        del contenders[PUBLISHED]
    names = list(contenders)
    contenders[FLOOR] = find_floor(subject).runner(groups + 2)
    maps = alternate(contenders, inputs, settings.repeats)
    for contender in names:
        peak = peak_mib(name, contender, groups, settings.device, size)
        maps[contender] = dataclasses.replace(maps[contender], peak_mib=peak)
    return GrowthPoint(name, groups, size, maps, left_out)


def alternate(
    contenders: Mapping[str, Run], inputs: Sequence[Tensor], repeats: int
) -> dict[str, Timing]:
    """Return the times of all contenders over rounds in which each has the same picture.

    A first round warms up and does not count, except for runs that take longer than `LONG_S`:
    these are made once only.
    """
    warm_up = {name: timed(run, inputs[0]) for name, run in contenders.items()}
    seconds: dict[str, list[float]] = {
        name: [first] if first > LONG_S else [] for name, first in warm_up.items()
    }
    for number in range(repeats):
        picture = inputs[number % len(inputs)]
        # Forwards and backwards: no contender always runs after the same other one.
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            if warm_up[name] <= LONG_S:
                seconds[name].append(timed(contenders[name], picture))
    return {name: Timing(tuple(found)) for name, found in seconds.items()}


def plain_form_mib(subject: Subject, groups: int) -> float:
    """Return roughly what the plain form needs: its masked pictures' largest activations."""
    largest = 0

    def look_at(_module: object, _inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel() * output.element_size())

    handles = [module.register_forward_hook(look_at) for module in subject.plain.network.modules()]
    try:
        zeros = torch.zeros(1, 3, *subject.plain.preprocessing.input_size)
        with torch.no_grad():
            subject.plain.network(zeros.to(subject.plain.device))
    finally:
        for handle in handles:
            handle.remove()
    return 3 * groups * largest / 2**20  # an operation's input, output and workspace
