"""The network and torch's random state come back as found, after success and after errors."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from groupcam import GroupCamConfig, explain, insertion_deletion
from groupcam.models import Backbone, target_layers
from groupcam.saliency.config import Grouping


def state_of(network: nn.Module) -> list[object]:
    """Everything that a caller could see changed."""
    modules = list(network.modules())
    return [
        [module.training for module in modules],
        [len(module._forward_hooks) + len(module._backward_hooks) for module in modules],
        [len(module._forward_pre_hooks) for module in modules],
        [(p.requires_grad, p.grad, p.data_ptr(), p._version) for p in network.parameters()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    ]


def is_unlocked(backbone: Backbone) -> bool:
    """Whether another thread could start at once; this one could take its own lock again."""

    def try_lock() -> bool:
        is_free = backbone.lock.acquire(blocking=False)
        if is_free:
            backbone.lock.release()
        return is_free

    with ThreadPoolExecutor(max_workers=1) as other_thread:
        return other_thread.submit(try_lock).result()


class FailingHead(nn.Module):
    """Raises at its n-th call."""

    def __init__(self, inner: nn.Module, fails_at: int) -> None:
        super().__init__()
        self.inner = inner
        self.calls_left = fails_at

    def forward(self, x: Tensor) -> Tensor:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise ArithmeticError("the head fails")
        out: Tensor = self.inner(x)
        return out


@pytest.fixture
def odd_cnn(tiny_cnn: Backbone) -> Backbone:
    """A network that is left in a mixed state: partly training, partly frozen, with gradients."""
    tiny_cnn.network.train()
    tiny_cnn.network.get_submodule("features.0").eval()
    for index, parameter in enumerate(tiny_cnn.network.parameters()):
        parameter.requires_grad_(index % 2 == 0)
        parameter.grad = torch.ones_like(parameter) if index % 2 == 0 else None
    return tiny_cnn


@pytest.mark.parametrize("grouping", ["contiguous", "similar", "kmeans", "agglomerative"])
def test_nothing_is_left_behind_after_success(
    odd_cnn: Backbone, tiny_inputs: Tensor, grouping: Grouping
) -> None:
    before = state_of(odd_cnn.network)
    inputs_before = tiny_inputs.clone()

    target_layers(odd_cnn)
    batch = explain(odd_cnn, tiny_inputs, GroupCamConfig(groups=4, grouping=grouping))
    insertion_deletion(odd_cnn, tiny_inputs, batch.saliency_map)

    assert state_of(odd_cnn.network) == before
    assert is_unlocked(odd_cnn)
    assert torch.equal(tiny_inputs, inputs_before)
    assert not tiny_inputs.requires_grad


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_nothing_is_left_behind_when_the_network_fails(
    odd_cnn: Backbone, tiny_inputs: Tensor, fails_at: int
) -> None:
    target_layers(odd_cnn)  # so that the failures hit the capture and the scoring
    odd_cnn.network.head = FailingHead(odd_cnn.network.get_submodule("head"), fails_at)
    before = state_of(odd_cnn.network)

    with pytest.raises(ArithmeticError, match="the head fails"):
        explain(odd_cnn, tiny_inputs, GroupCamConfig(groups=12), "features.4")

    assert state_of(odd_cnn.network) == before
    assert is_unlocked(odd_cnn)


def test_an_explanation_works_without_gradients_enabled(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    expected = explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=4)).saliency_map

    with torch.no_grad():
        quiet = explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=4)).saliency_map
    with torch.inference_mode():
        frozen = explain(tiny_cnn, tiny_inputs.clone(), GroupCamConfig(groups=4)).saliency_map

    torch.testing.assert_close(quiet, expected)
    torch.testing.assert_close(frozen, expected)


def test_results_hold_no_graph(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    batch = explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=4))

    for name, value in vars(batch).items():
        assert not (isinstance(value, Tensor) and value.requires_grad), name
