"""Methods that follow the gradient down to the pixels."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam.models import Backbone
from groupcam.saliency.methods.integrated_gradients import attribute, black_picture
from groupcam.saliency.methods.passes import input_gradients
from groupcam.saliency.scoring import min_max_scale
from groupcam.steps import finish
from tests.saliency.methods.support import NO_LAYER, map_of
from tests.support import as_backbone


class Linear(nn.Module):
    """Two linear logits of an 8 x 8 picture."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.identity = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.identity.weight)
        self.weights = torch.randn(2, 3, 8, 8, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", self.identity(x), self.weights)


@pytest.fixture
def pictures(generator: torch.Generator) -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1


def test_integrated_gradients_add_up_to_what_the_picture_adds_to_black(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    classes = torch.tensor([0, 1, 2])
    with torch.no_grad():
        black = torch.full_like(tiny_inputs, -1)  # (0 - mean) / deviation, both 0.5
        gains = tiny_cnn.network(tiny_inputs) - tiny_cnn.network(black)

    attributions = finish(attribute(tiny_cnn, tiny_inputs, classes, points=300))

    torch.testing.assert_close(black_picture(tiny_cnn).expand_as(black), black)
    torch.testing.assert_close(attributions.sum((1, 2, 3)), gains.diagonal(), rtol=1e-3, atol=1e-3)


def test_integrated_gradients_of_a_linear_logit_are_weight_times_difference(
    pictures: Tensor,
) -> None:
    network = Linear()
    backbone = as_backbone(network, (8, 8), classes=2)

    attributions = finish(attribute(backbone, pictures, torch.tensor([1, 0]), points=3))
    saliency = map_of("integrated_gradients", backbone, pictures, NO_LAYER, 1, points=3)

    torch.testing.assert_close(attributions, network.weights[[1, 0]] * (pictures + 1))
    strength = (network.weights[1] * (pictures + 1)).abs().sum(1)
    torch.testing.assert_close(saliency, min_max_scale(strength))


def test_smooth_grad_of_a_linear_logit_is_its_weights(pictures: Tensor) -> None:
    network = Linear()

    saliency = map_of("smooth_grad", as_backbone(network, (8, 8), classes=2), pictures, NO_LAYER, 1)

    expected = min_max_scale(network.weights[1].abs().sum(0)).expand(2, -1, -1)
    torch.testing.assert_close(saliency, expected)


def test_smooth_grad_is_the_mean_gradient_of_noisy_copies(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    copies = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    expected = []
    for picture in tiny_inputs:
        deviation = 0.3 * (picture.max() - picture.min())
        noisy = (picture + deviation * copies).requires_grad_()
        tiny_cnn.network(noisy)[:, 1].sum().backward()
        assert noisy.grad is not None
        expected.append(noisy.grad.mean(0).abs().sum(0))

    ours = map_of(
        "smooth_grad",
        *(tiny_cnn, tiny_inputs, None, 1),
        **{"samples": 6, "noise": 0.3, "seed": 4},
    )

    torch.testing.assert_close(ours, min_max_scale(torch.stack(expected)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["smooth_grad", "smooth_grad_cam_pp"])
def test_noise_depends_on_the_seed(tiny_cnn: Backbone, tiny_inputs: Tensor, name: str) -> None:
    maps = [
        map_of(name, tiny_cnn, tiny_inputs, "features.2", 1, samples=2, noise=0.5, seed=seed)
        for seed in (0, 0, 1)
    ]

    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2], atol=1e-4)


class TwoUnits(nn.Module):
    """Logit 0 is the sum of f over the red values less that over the green; logit 1 is minus it."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.identity = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.identity.weight)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        units = self.function(self.identity(x) * 1)
        logit = units[:, 0].sum((1, 2)) - units[:, 1].sum((1, 2))
        return torch.stack([logit, -logit], dim=1)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "ReLU6": nn.ReLU6(inplace=True),
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_guided_backprop_lets_no_negative_gradient_into_a_relu(
    function: Callable[[Tensor], Tensor], pictures: Tensor
) -> None:
    backbone = as_backbone(TwoUnits(function), (8, 8), classes=2)
    red, green = pictures[:, 0], pictures[:, 1]

    first = map_of("guided_backprop", backbone, pictures, NO_LAYER, 0)
    second = map_of("guided_backprop", backbone, pictures, NO_LAYER, 1)

    # Class 0 likes red alone and class 1 green alone, where the ReLU is open.
    assert torch.equal(first, (red > 0).float())
    assert torch.equal(second, (green > 0).float())
    # And the plain gradient is as it was, negative parts included.
    plain = input_gradients(backbone, pictures, torch.tensor([0, 0]))
    expected = torch.stack([(red > 0).float(), -(green > 0).float(), torch.zeros_like(red)], 1)
    assert torch.equal(plain, expected)


def test_guided_backprop_treats_smooth_relatives_alike(pictures: Tensor) -> None:
    backbone = as_backbone(TwoUnits(F.gelu), (8, 8), classes=2)
    red = pictures[:, 0].clone().requires_grad_()
    F.gelu(red).sum().backward()
    assert red.grad is not None

    saliency = map_of("guided_backprop", backbone, pictures, NO_LAYER, 0)

    torch.testing.assert_close(saliency, min_max_scale(red.grad.abs()))


def test_guided_backprop_without_activation_functions_is_the_gradient(pictures: Tensor) -> None:
    network = Linear()

    saliency = map_of(
        "guided_backprop", as_backbone(network, (8, 8), classes=2), pictures, NO_LAYER, 1
    )

    expected = min_max_scale(network.weights[1].abs().sum(0)).expand(2, -1, -1)
    torch.testing.assert_close(saliency, expected)


class Blind(nn.Module):
    """Logits that no picture changes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.features(x)
        return torch.tensor([[1.0, 2.0]]).expand(len(x), 2)


def test_a_logit_without_gradient_gives_zeros(pictures: Tensor) -> None:
    backbone = as_backbone(Blind(), (8, 8), classes=2)

    gradients = input_gradients(backbone, pictures, torch.tensor([0, 1]))

    assert torch.equal(gradients, torch.zeros_like(pictures))
