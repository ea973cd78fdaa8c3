"""How a backbone's masked forwards run fastest: as an optimised graph or eagerly, how many at once.

Without preparation the forwards run eagerly in micro-batches of a size that suits most networks.
`prepare` measures what is better for one backbone; results stay within 1e-4 of the eager ones.
"""

import itertools
import logging
import math
import queue
import threading
import time
import weakref
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from groupcam.memory import is_out_of_memory
from groupcam.models import Backbone
from groupcam.models.logits import check_finite
from groupcam.saliency.config import Precision
from groupcam.saliency.graph import GraphError, compile_graph

# On two CPU cores with EfficientNet-Lite0 in channels_last, 4 inputs at once ran twice as fast as
# 32, whose activations do not stay in the cache.
MICRO_BATCH_CPU = 4
MICRO_BATCH_GPU = 64
TRIED_ON_CPU = (1, 2, 4, 8, 16)
TRIED_ON_GPU = (16, 32, 64, 128)
TRIAL_S = 1.5  # trying takes about this long; a large network is tried at the smallest sizes only

# Operations that would lose too much, such as softmax, stay in float32 under autocast.
AUTOCAST = {"bfloat16": torch.bfloat16}

logger = logging.getLogger(__name__)


class Forwards(Protocol):
    """What may run in place of a network, as `graph.CompiledGraph` does."""

    def stands_for(self, network: nn.Module, size: tuple[int, int]) -> bool:
        """Return whether its answers are those of the network for inputs of a size (H, W)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits (M, K) of inputs (M, 3, H, W)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How the forwards of one backbone run."""

    micro_batch: int  # inputs in one forward pass
    graph: Forwards | None = None  # None: eager


_PLANS: "weakref.WeakKeyDictionary[Backbone, Plan]" = weakref.WeakKeyDictionary()
_WAITING: "queue.SimpleQueue[weakref.ref[Backbone]]" = queue.SimpleQueue()
_STARTING = threading.Lock()
_worker: threading.Thread | None = None


def plan_of(backbone: Backbone) -> Plan:
    """Return the measured plan, or the usual one when the backbone was not prepared."""
    plan = _PLANS.get(backbone)
    if plan is not None:
        return plan
    return Plan(MICRO_BATCH_CPU if backbone.device.type == "cpu" else MICRO_BATCH_GPU)


def use(backbone: Backbone, plan: Plan) -> None:
    """Let a backbone's forwards run by a plan from now on."""
    _PLANS[backbone] = plan


def forward(backbone: Backbone, inputs: Tensor, precision: Precision = "float32") -> Tensor:
    """Return logits (M, K) of inputs (M, 3, H, W), at most a micro-batch at a time.

    By the graph while it stands for the network. When memory runs out, micro-batches are halved
    from then on.

    Args:
        backbone: the network.
        inputs: normalised pictures; not changed.
        precision: number format of the network's large operations.

    Raises:
        Exception: there is no memory even for one input; see `groupcam.memory`.
        GroupCamError: the logits are not finite. On a GPU that is found out later, by who uses
            them: a look at them here would make the next micro-batch wait.
    """
    parts: list[Tensor] = []
    start = 0
    while start < len(inputs):
        plan = plan_of(backbone)
        part = inputs[start : start + plan.micro_batch]
        logits = _forward_part(backbone, plan.graph, part, precision)
        if logits is None:
            fewer = len(part) // 2
            logger.warning("%s: memory ran out, %d inputs at once now", backbone.name, fewer)
            use(backbone, replace(plan, micro_batch=fewer))
            continue
        if not logits.is_cuda:
            check_finite(logits, backbone.name)
        parts.append(logits)
        start += len(part)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _forward_part(
    backbone: Backbone, graph: Forwards | None, inputs: Tensor, precision: Precision
) -> Tensor | None:
    """Return the logits of one micro-batch, or None when memory ran out and fewer may fit."""
    size = (inputs.shape[-2], inputs.shape[-1])
    with backbone.lock:
        exact = precision == "float32"
        if graph is not None and exact and graph.stands_for(backbone.network, size):
            try:
                return graph(inputs)
            except (RuntimeError, MemoryError):
                logger.warning("The graph of %s failed; eager from now on", backbone.name)
                _PLANS.pop(backbone, None)
        try:
            return eager(backbone, inputs, precision)
        except (RuntimeError, MemoryError) as error:
            if len(inputs) == 1 or not is_out_of_memory(error):
                raise
    # Outside the handler, whose traceback would keep the activations in memory.
    return None


def eager(backbone: Backbone, inputs: Tensor, precision: Precision = "float32") -> Tensor:
    """Return the network's own logits (M, K) of one micro-batch (M, 3, H, W)."""
    device = inputs.device.type
    dtype = AUTOCAST.get(precision)
    with (
        backbone.frozen(),
        torch.no_grad(),
        torch.autocast(device, dtype=dtype, enabled=dtype is not None),
    ):
        return backbone.logits(inputs.contiguous(memory_format=torch.channels_last))


def prepare(backbone: Backbone) -> Plan:
    """Find out how this backbone's forwards run fastest here, and do so from now on.

    Takes seconds, so it pays for many pictures or for a page that waits for visitors. A network
    that cannot be compiled stays eager.
    """
    graph = None
    if backbone.device.type == "cpu":
        try:
            graph = compile_graph(backbone)
        except GraphError as error:
            logger.info("%s stays eager: %s", backbone.name, error)
    plan = _fastest(backbone, graph)
    use(backbone, plan)
    return plan


def prepare_in_background(backbone: Backbone) -> None:
    """Prepare a backbone in a thread, one backbone after the other; eager answers meanwhile."""
    global _worker
    with _STARTING:
        _WAITING.put(weakref.ref(backbone))
        if _worker is None:
            # No daemon: a process that ends while OpenVINO compiles would end with an abort.
            _worker = threading.Thread(target=_prepare_waiting, name="prepare", daemon=False)
            _worker.start()


def is_preparing() -> bool:
    """Return whether backbones are being prepared in the background."""
    return _worker is not None


def _prepare_waiting() -> None:
    """Prepare what waits, until nothing does or the process wants to end."""
    global _worker
    while True:
        with _STARTING:
            if _WAITING.empty() or not threading.main_thread().is_alive():
                _worker = None
                return
            backbone = _WAITING.get()()
        if backbone is not None and backbone not in _PLANS:
            try:
                prepare(backbone)
            except Exception:
                logger.exception("Preparing %s failed", backbone.name)
        del backbone  # waiting must not keep it alive


def _fastest(backbone: Backbone, graph: Forwards | None) -> Plan:
    """Return the plan that took the least time a picture in a short trial."""
    sizes = TRIED_ON_CPU if backbone.device.type == "cpu" else TRIED_ON_GPU
    kinds = [None] if graph is None else [graph, None]
    plans = [Plan(size, kind) for size in sizes for kind in kinds]
    inputs = torch.zeros(max(sizes), 3, *backbone.preprocessing.input_size, device=backbone.device)
    seconds: dict[Plan, float] = {}
    deadline = time.perf_counter() + TRIAL_S
    # In turns, so that a busy moment hits no plan alone. The first turn is a warm-up too.
    for plan in itertools.cycle(plans):
        if len(seconds) >= len(kinds) and time.perf_counter() > deadline:
            break
        latest = _seconds_each(backbone, plan, inputs[: plan.micro_batch])
        seconds[plan] = min(latest, seconds.get(plan, latest))
    return min(seconds, key=seconds.__getitem__)


def _seconds_each(backbone: Backbone, plan: Plan, inputs: Tensor) -> float:
    """Return the time of one forward pass divided by its inputs; infinite if they do not fit."""
    with backbone.lock:
        started = time.perf_counter()
        try:
            if plan.graph is not None:
                plan.graph(inputs)
            else:
                eager(backbone, inputs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return math.inf
        if inputs.is_cuda:
            torch.cuda.synchronize(inputs.device)
        return (time.perf_counter() - started) / len(inputs)
