"""Who runs in the bench, and the floor below which no contender can get: the bare forwards."""

import dataclasses
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from groupcam.evaluate.bench.peers import peers
from groupcam.evaluate.bench.published import plain_copy, published_curves, published_group_cam
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.models import (
    Backbone,
    TargetLayer,
    list_backbones,
    load_backbone,
    resolve_target_layer,
)
from groupcam.saliency import GroupCamConfig, engine, explain, finish

OURS = "groupcam, prepared"
OURS_EAGER = "groupcam, eager"
PUBLISHED = "published algorithm"
FLOOR = "bare forwards"

FLOOR_SIZES_CPU = (1, 2, 4, 8, 16, 32)
FLOOR_SIZES_GPU = (16, 32, 64, 128)
FLOOR_TRIAL_S = 4.0
PEAK_SIDE = 2048  # of the matrices whose product gives the peak

Run = Callable[[Tensor], object]


@dataclass(frozen=True, eq=False)
class Subject:
    """One network as every contender has it. They share weights, layer and device."""

    eager: Backbone
    prepared: Backbone
    plain: Backbone
    layer: TargetLayer
    prepare_s: float

    def config(self, groups: int) -> GroupCamConfig:
        """Return the settings of all Group-CAM contenders: the published ones."""
        return dataclasses.replace(GroupCamConfig.paper(), groups=groups)

    def protocol(self) -> CurveProtocol:
        """Return the steps of the curves, as many as the authors take at 224 x 224."""
        return CurveProtocol.with_steps(112, self.eager.preprocessing.input_size)


def load_subject(
    name: str, device: str, size: int | None = None, *, is_prepared: bool = True
) -> Subject:
    """Return a network with its default weights if they are on this machine, else random ones.

    Args:
        name: "library/architecture".
        device: where it runs.
        size: width and height of the pictures; None takes the network's own.
        is_prepared: whether the prepared backbone is really prepared, which takes seconds.
    """
    is_ready = any(entry.ready_offline for entry in list_backbones(name))
    loaded = load_backbone(name, "default" if is_ready else None, device)
    if size is not None:
        preprocessing = dataclasses.replace(loaded.preprocessing, input_size=(size, size))
        loaded = dataclasses.replace(loaded, preprocessing=preprocessing)
    prepared = dataclasses.replace(loaded)  # a plan belongs to a backbone, not to its network
    started = time.perf_counter()
    if is_prepared:
        engine.prepare(prepared)
    prepare_s = time.perf_counter() - started
    return Subject(
        eager=loaded,
        prepared=prepared,
        plain=plain_copy(loaded),
        layer=resolve_target_layer(loaded, None),
        prepare_s=prepare_s,
    )


def explainers(subject: Subject, groups: int) -> dict[str, Run]:
    """Return what explains the top class of a picture by Group-CAM, ours first."""
    config, layer = subject.config(groups), subject.layer
    return {
        OURS: lambda picture: explain(subject.prepared, picture, config, layer.name),
        OURS_EAGER: lambda picture: explain(subject.eager, picture, config, layer.name),
        PUBLISHED: lambda picture: published_group_cam(subject.plain, picture, layer, config),
    }


def other_methods(subject: Subject) -> dict[str, Run]:
    """Return the methods of other packages that are installed."""
    return peers(subject.plain, subject.layer)


def curve_makers(subject: Subject, saliency_map: Tensor, class_index: int) -> dict[str, Run]:
    """Return what computes both curves of a picture and its saliency map (H, W)."""
    protocol = subject.protocol()
    classes = torch.tensor([class_index], device=subject.eager.device)

    def ours(backbone: Backbone) -> Run:
        return lambda picture: finish(
            curve_steps(backbone, picture, saliency_map[None], classes, protocol=protocol)
        )

    return {
        OURS: ours(subject.prepared),
        OURS_EAGER: ours(subject.eager),
        PUBLISHED: lambda picture: published_curves(
            subject.plain, picture, saliency_map, class_index, protocol
        ),
    }


@dataclass(frozen=True, eq=False)
class Floor:
    """The fastest way found to run bare forwards of a network."""

    kind: str  # "graph", "channels_last" or "NCHW"
    at_once: int
    forward: Callable[[Tensor], object]

    def runner(self, pictures: int) -> Run:
        """Return what runs as many forwards as there are pictures, on copies of one picture."""

        def run(picture: Tensor) -> None:
            for part in picture.repeat(pictures, 1, 1, 1).split(self.at_once):
                self.forward(part)

        return run


def find_floor(subject: Subject, trial_s: float = FLOOR_TRIAL_S) -> Floor:
    """Return the best of eager in both memory layouts and the graph, at many micro-batches.

    A graph that was slower than eager when the network was prepared is not tried again.
    """
    graph = engine.plan_of(subject.prepared).graph
    forwards: dict[str, Callable[[Tensor], object]] = {
        "channels_last": _bare(subject.eager, torch.channels_last),
        "NCHW": _bare(subject.plain, torch.contiguous_format),
    }
    if graph is not None:
        forwards["graph"] = graph
    device = subject.eager.device
    sizes = FLOOR_SIZES_CPU if device.type == "cpu" else FLOOR_SIZES_GPU
    inputs = torch.zeros(max(sizes), 3, *subject.eager.preprocessing.input_size, device=device)
    floors = [Floor(kind, size, run) for size in sizes for kind, run in forwards.items()]
    best: dict[Floor, float] = {}
    deadline = time.perf_counter() + trial_s
    for floor in itertools.cycle(floors):  # the first turn warms up
        if len(best) >= len(forwards) and time.perf_counter() > deadline:
            break
        part = inputs[: floor.at_once]
        seconds = timed(floor.forward, part) / floor.at_once
        best[floor] = min(seconds, best.get(floor, seconds))
    return min(best, key=best.__getitem__)


def timed(run: Run, picture: Tensor) -> float:
    """Return the seconds of one run, the device's work included."""
    if picture.is_cuda:
        torch.cuda.synchronize(picture.device)
    started = time.perf_counter()
    run(picture)
    if picture.is_cuda:
        torch.cuda.synchronize(picture.device)
    return time.perf_counter() - started


def count_gflop(subject: Subject) -> float:
    """Return the floating-point operations of one forward pass, in 10^9."""
    size = subject.plain.preprocessing.input_size
    zeros = torch.zeros(1, 3, *size, device=subject.plain.device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        subject.plain.network(zeros)
    return counter.get_total_flops() / 1e9


def peak_gflops(device: str, repeats: int = 5) -> float:
    """Return the speed of a large float32 matrix product, in 10^9 operations a second."""
    matrix = torch.rand(PEAK_SIDE, PEAK_SIDE, device=device)
    best = min(timed(lambda square: square @ square, matrix) for _ in range(repeats))
    return 2 * PEAK_SIDE**3 / best / 1e9


def _bare(backbone: Backbone, layout: torch.memory_format) -> Callable[[Tensor], object]:
    def run(inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return backbone.logits(inputs.contiguous(memory_format=layout))

    return run
