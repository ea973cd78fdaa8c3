import torch
from torch import Tensor, nn

from groupcam.models import Backbone, target_layers
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.survey import mean_activations
from tests.support import as_backbone


def test_means_are_those_of_the_captured_activations(tiny_cnn: Backbone) -> None:
    picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    layers = target_layers(tiny_cnn)
    before = {name: len(module._forward_hooks) for name, module in tiny_cnn.network.named_modules()}

    means = mean_activations(tiny_cnn, picture, layers)

    assert list(means) == [layer.name for layer in layers]
    for layer in layers:
        activations = capture_layer(tiny_cnn, picture, layer).activations
        torch.testing.assert_close(means[layer.name], activations[0].mean(0))
    after = {name: len(module._forward_hooks) for name, module in tiny_cnn.network.named_modules()}
    assert after == before


def test_values_are_those_before_later_operations_in_place() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.first(x).mul_(-1).mean((2, 3)))
            return logits

    network = InPlace()
    backbone = as_backbone(network, (16, 16), 2)
    picture = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))

    means = mean_activations(backbone, picture, target_layers(backbone))

    torch.testing.assert_close(means["first"], network.first(picture)[0].mean(0).detach())
