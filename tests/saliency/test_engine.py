"""The graph in place of the network: same answers, only while the network is what it was."""

import gc
import subprocess
import sys
import weakref

import pytest
import torch
from torch import Tensor, nn

from groupcam import GroupCamConfig, explain
from groupcam.models import Backbone
from groupcam.saliency import engine
from groupcam.saliency.engine import Plan, forward, plan_of, prepare
from groupcam.saliency.graph import CompiledGraph, GraphError, compile_graph
from tests.support import ROOT, TinyCnn, as_backbone, head_of


def pictures(backbone: Backbone, count: int = 3) -> Tensor:
    size = backbone.preprocessing.input_size
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def compiled(tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of inputs in each call of the graph that `tiny_cnn` runs by."""
    calls: list[int] = []
    answer = CompiledGraph.__call__

    def counted(graph: CompiledGraph, inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        return answer(graph, inputs)

    engine.use(tiny_cnn, Plan(8, compile_graph(tiny_cnn)))
    monkeypatch.setattr(CompiledGraph, "__call__", counted)
    return calls


def test_explanations_by_graph_are_those_of_the_network(lite0: Backbone) -> None:
    inputs = pictures(lite0, 1)
    config = GroupCamConfig(groups=8)
    eager = explain(lite0, inputs, config)

    try:
        engine.use(lite0, Plan(4, compile_graph(lite0)))
        by_graph = explain(lite0, inputs, config)
    finally:
        del engine._PLANS[lite0]

    torch.testing.assert_close(by_graph.saliency_map, eager.saliency_map, rtol=0, atol=1e-4)
    torch.testing.assert_close(by_graph.group_weights, eager.group_weights, rtol=1e-3, atol=1e-6)
    assert not torch.equal(by_graph.group_weights, eager.group_weights)  # it did run by the graph


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_graph_takes_any_number_of_inputs(
    tiny_cnn: Backbone, compiled: list[int], count: int
) -> None:
    inputs = pictures(tiny_cnn, count)

    logits = forward(tiny_cnn, inputs)

    assert compiled == [count]
    torch.testing.assert_close(logits, tiny_cnn.logits(inputs), rtol=1e-4, atol=1e-5)


def test_changed_weights_are_answered_by_the_network(
    tiny_cnn: Backbone, compiled: list[int]
) -> None:
    inputs = pictures(tiny_cnn)
    with torch.no_grad():
        head_of(tiny_cnn).bias.add_(1)

    torch.testing.assert_close(forward(tiny_cnn, inputs), tiny_cnn.logits(inputs))
    assert compiled == []


def test_replaced_modules_are_answered_by_the_network(
    tiny_cnn: Backbone, compiled: list[int]
) -> None:
    inputs = pictures(tiny_cnn)
    tiny_cnn.network.add_module("head", nn.Linear(12, 3))

    torch.testing.assert_close(forward(tiny_cnn, inputs), tiny_cnn.logits(inputs))
    assert compiled == []


def test_hooks_of_others_still_run(tiny_cnn: Backbone, compiled: list[int]) -> None:
    seen: list[int] = []
    handle = head_of(tiny_cnn).register_forward_hook(
        lambda _module, _inputs, output: seen.append(len(output))
    )
    forward(tiny_cnn, pictures(tiny_cnn))
    handle.remove()
    forward(tiny_cnn, pictures(tiny_cnn))

    assert seen == [3]
    assert compiled == [3]


def test_inputs_of_another_size_are_answered_by_the_network(
    tiny_cnn: Backbone, compiled: list[int]
) -> None:
    forward(tiny_cnn, torch.zeros(2, 3, 48, 40))

    assert compiled == []


def test_a_graph_that_fails_while_it_runs_is_given_up(
    tiny_cnn: Backbone, compiled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(graph: CompiledGraph, inputs: Tensor) -> Tensor:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(CompiledGraph, "__call__", fail)
    inputs = pictures(tiny_cnn)

    torch.testing.assert_close(forward(tiny_cnn, inputs), tiny_cnn.logits(inputs))
    assert plan_of(tiny_cnn).graph is None


class Stateful(TinyCnn):
    """Answers differently from one call to the next, which no graph can."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) + self.calls


class Untraceable(TinyCnn):
    """Goes through Python objects that tracing refuses."""

    def forward(self, x: Tensor) -> Tensor:
        if torch._C._get_tracing_state() is not None:
            raise NotImplementedError("not while tracing")
        return super().forward(x)


@pytest.mark.parametrize("network", [Stateful, Untraceable])
def test_a_network_that_no_graph_can_stand_for_stays_eager(network: type[TinyCnn]) -> None:
    backbone = as_backbone(network())

    with pytest.raises(GraphError):
        compile_graph(backbone)
    assert prepare(backbone).graph is None


class Small(TinyCnn):
    """Has memory for two inputs at once."""

    fits = 2
    calls: list[int]

    def forward(self, x: Tensor) -> Tensor:
        self.calls = [*getattr(self, "calls", []), len(x)]
        if len(x) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_micro_batches_are_halved_until_they_fit_into_memory() -> None:
    backbone = as_backbone(Small())
    network = backbone.network
    assert isinstance(network, Small)
    inputs = pictures(backbone, 9)
    engine.use(backbone, Plan(8))

    logits = forward(backbone, inputs)

    assert network.calls == [8, 4, 2, 2, 2, 2, 1]
    assert plan_of(backbone).micro_batch == 2
    network.fits = 100
    torch.testing.assert_close(logits, backbone.logits(inputs))


def test_explaining_goes_on_with_less_memory_and_gives_the_same_map() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = as_backbone(Small())
    network = backbone.network
    assert isinstance(network, Small)
    inputs = pictures(backbone, 1)
    network.fits = 100
    expected = explain(backbone, inputs, GroupCamConfig(groups=6))

    network.fits = 1
    result = explain(backbone, inputs, GroupCamConfig(groups=6))

    torch.testing.assert_close(result.saliency_map, expected.saliency_map, rtol=0, atol=1e-5)
    assert plan_of(backbone).micro_batch == 1


def test_no_memory_for_a_single_input_is_an_error() -> None:
    backbone = as_backbone(Small())
    assert isinstance(backbone.network, Small)
    backbone.network.fits = 0

    with pytest.raises(torch.OutOfMemoryError):
        forward(backbone, pictures(backbone))


def test_preparing_tries_only_what_fits_into_memory() -> None:
    backbone = as_backbone(Small())

    assert prepare(backbone).micro_batch <= 2


def test_preparing_changes_nothing_in_the_network(tiny_cnn: Backbone) -> None:
    tiny_cnn.network.train()
    state = {name: tensor.clone() for name, tensor in tiny_cnn.network.state_dict().items()}
    random = torch.get_rng_state()

    prepare(tiny_cnn)

    assert all(module.training for module in tiny_cnn.network.modules())
    assert torch.equal(torch.get_rng_state(), random)
    for name, tensor in tiny_cnn.network.state_dict().items():
        assert torch.equal(tensor, state[name])


def test_a_plan_does_not_keep_its_backbone_alive() -> None:
    backbone = as_backbone(TinyCnn())
    prepare(backbone)
    gone = weakref.ref(backbone)

    del backbone
    gc.collect()

    assert gone() is None


def test_no_analytics_are_sent() -> None:
    compile_graph(as_backbone(TinyCnn()))

    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


ENDING = """
import torch
from groupcam.models import load_backbone
from groupcam.saliency import engine

for name in ("timm/resnet10t", "timm/resnet14t"):
    engine.prepare_in_background(load_backbone(name, weights=None))
print("ends")
"""


def test_a_process_may_end_while_a_graph_is_made() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", ENDING], cwd=ROOT, capture_output=True, text=True, timeout=100
    )

    assert (answer.returncode, answer.stdout) == (0, "ends\n"), answer.stderr
