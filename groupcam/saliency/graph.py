"""A network compiled into one optimised graph for the CPU, by OpenVINO.

Measured on two cores with EfficientNet-Lite0: 2.5 to 3 times as fast as eager PyTorch at its best
batch size, ready within two seconds. Not every network can be compiled; `compile_graph` says so
by raising, and nothing else may depend on a graph being there.
"""

import copy
import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groupcam.models import Backbone

# float32 all the way: OpenVINO would choose bfloat16 where the processor has it. "THROUGHPUT" gives
# parts of a micro-batch to different cores instead of every layer to all of them: a little faster
# on a quiet machine, and a third faster when something else takes half of one core.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
# How far a graph's logits may be from the network's, relative to the largest of them. Eager
# results at different batch sizes differ by up to 1e-6 themselves.
TOLERANCE = 1e-4
CHECK_SEED = 0
TRACED_BATCH = 2  # 1 would be taken for a broadcast axis
CHECKED_BATCHES = (1, 2, 5)  # a batch size that was baked in shows at the others

Fingerprint = tuple[int, ...]


class GraphError(RuntimeError):
    """The network cannot be compiled, or the graph's answers are not the network's."""


class CompiledGraph:
    """Logits of one network in evaluation mode, for any number of inputs of one size.

    Not safe in several threads at once: call it under the backbone's lock.
    """

    def __init__(self, compiled: Any, size: tuple[int, int], fingerprint: Fingerprint) -> None:
        at_once = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._requests = [compiled.create_infer_request() for _ in range(at_once)]
        self._size = size
        self._fingerprint = fingerprint

    def stands_for(self, network: nn.Module, size: tuple[int, int]) -> bool:
        """Return whether the network still has the weights of the graph, and nothing to observe.

        Hooks on the network must run, so a network with hooks is not replaced.
        """
        return size == self._size and fingerprint_of(network) == self._fingerprint

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits (M, K) of inputs (M, 3, H, W), float32 on the CPU."""
        parts = np.array_split(inputs.contiguous().numpy(), min(len(self._requests), len(inputs)))
        running = self._requests[: len(parts)]
        for request, part in zip(running, parts, strict=True):
            request.start_async([part], share_inputs=True)
        for request in running:
            request.wait()
        # Copied, because a request writes its next answer to the same place.
        answers = [request.get_output_tensor(0).data for request in running]
        return torch.from_numpy(np.concatenate(answers))


def compile_graph(backbone: Backbone) -> CompiledGraph:
    """Return the backbone's network as a graph whose logits were compared with the network's.

    The network is copied under its lock and goes on serving meanwhile.

    Raises:
        GraphError: it cannot be compiled, or the answers differ.
    """
    size = backbone.preprocessing.input_size
    try:
        with backbone.frozen():
            fingerprint = fingerprint_of(backbone.network)
            if fingerprint is None:
                raise GraphError("the network has hooks")
            private = Backbone(
                name=backbone.name,
                network=copy.deepcopy(backbone.network),
                preprocessing=backbone.preprocessing,
                class_names=backbone.class_names,
            )
        generator = torch.Generator().manual_seed(CHECK_SEED)
        inputs = torch.randn(sum(CHECKED_BATCHES), 3, *size, generator=generator)
        graph = CompiledGraph(_compiled(private, inputs[:TRACED_BATCH]), size, fingerprint)
        _check(graph, private, inputs)
    except GraphError:
        raise
    # Tracing runs foreign code, and the converter has no error class of its own.
    except Exception as error:
        raise GraphError(f"{type(error).__name__}: {error}") from error
    return graph


def fingerprint_of(network: nn.Module) -> Fingerprint | None:
    """Return what changes when a weight is replaced or written to; takes no look at values.

    None when something listens to or changes what a module does.
    """
    marks: list[int] = []
    # Asked before every micro-batch: a walk by `modules()` takes five times as long.
    waiting: list[nn.Module | None] = [network]
    while waiting:
        module = waiting.pop()
        if module is None:
            continue
        state = module.__dict__
        if state["_forward_hooks"] or state["_forward_pre_hooks"] or "forward" in state:
            return None
        for tensors in (state["_parameters"], state["_buffers"]):
            for tensor in tensors.values():
                if tensor is not None:
                    marks += (id(tensor), tensor.data_ptr(), tensor._version)
        waiting += state["_modules"].values()
    return tuple(marks)


def _compiled(private: Backbone, inputs: Tensor) -> Any:
    """Return the compiled network."""
    # OpenVINO counts its imports on a server of its maker unless this package is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    with private.frozen(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what tracing cannot see; `_check` looks at results
        traced = torch.jit.trace(_Logits(private), inputs, check_trace=False)
        model = openvino.convert_model(traced, example_input=inputs)
    model.reshape([-1, *inputs.shape[1:]])
    return openvino.Core().compile_model(model, "CPU", SETTINGS)


class _Logits(nn.Module):
    """A backbone's network that answers with its logits alone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.network = backbone.network
        self._backbone = [backbone]  # in a list: no part of the module

    def forward(self, inputs: Tensor) -> Tensor:
        return self._backbone[0].logits(inputs)


def _check(graph: CompiledGraph, private: Backbone, inputs: Tensor) -> None:
    """Compare the graph with the network at several batch sizes."""
    for part in inputs.split(CHECKED_BATCHES):
        with private.frozen(), torch.no_grad():
            expected = private.logits(part)
        difference = (graph(part) - expected).abs().max() / expected.abs().max()
        if not difference <= TOLERANCE:  # NaN too
            raise GraphError(f"logits differ by {float(difference):.1e} of the largest")
