"""Methods that put another map into the place of the layer's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.methods.feature_space import logits_with_map
from groupcam.saliency.methods.passes import activations_at
from groupcam.saliency.scoring import min_max_scale, upsample_masks
from tests.saliency.methods.support import LAYOUTS, AsIs, Marked, map_of, run_method
from tests.support import as_backbone, head_of

LAYER = "features.4"


def tail(backbone: Backbone, activations: Tensor) -> Tensor:
    """The logits that the tiny network gives for activations of its last layer."""
    logits: Tensor = head_of(backbone)(activations.mean((2, 3)))
    return logits.detach()


@pytest.mark.parametrize("arrangement", LAYOUTS)
def test_a_map_is_replaced_in_every_layout(
    generator: torch.Generator, arrangement: type[AsIs]
) -> None:
    network = Marked(arrangement())
    backbone = as_backbone(network, (8, 8))
    inputs = torch.randn(3, 3, 8, 8, generator=generator)
    maps = torch.randn(3, 2, 4, 4, generator=generator)
    maps_before = maps.clone()
    with torch.no_grad():
        own = network(inputs)
        expected = network.head(maps.relu().mean((2, 3)))

    for _ in range(2):  # nothing of the first call is left
        replaced = logits_with_map(backbone, inputs, arrangement.layout, maps)
        torch.testing.assert_close(replaced, expected)
        with torch.no_grad():
            assert torch.equal(network(inputs), own)
    assert torch.equal(maps, maps_before)


@pytest.mark.parametrize("arrangement", LAYOUTS)
def test_putting_the_own_map_back_changes_nothing(
    generator: torch.Generator, arrangement: type[AsIs]
) -> None:
    network = Marked(arrangement())
    backbone = as_backbone(network, (8, 8))
    inputs = torch.randn(3, 3, 8, 8, generator=generator)

    activations, logits = activations_at(backbone, inputs, arrangement.layout)
    replaced = logits_with_map(backbone, inputs, arrangement.layout, activations)

    torch.testing.assert_close(replaced, logits)
    torch.testing.assert_close(activations, network.stem(inputs).detach())


def test_activations_are_those_that_a_capture_sees(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    layer = resolve_target_layer(tiny_cnn, "features.0")  # the ReLU after it works in place

    activations, logits = activations_at(tiny_cnn, tiny_inputs, layer)

    capture = capture_layer(tiny_cnn, tiny_inputs, layer)
    torch.testing.assert_close(activations, capture.activations)
    torch.testing.assert_close(logits, capture.logits)


def test_ablation_cam_weighs_channels_by_what_the_logit_loses(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    layer = resolve_target_layer(tiny_cnn, LAYER)
    activations = activations_at(tiny_cnn, tiny_inputs, layer)[0]
    original = tail(tiny_cnn, activations)[:, 1]
    assert (original > 0).all()  # so the paper's division by the logit keeps the signs
    cam = torch.zeros(3, 16, 16)
    for channel in range(12):
        ablated = activations.clone()
        ablated[:, channel] = 0
        weight = (original - tail(tiny_cnn, ablated)[:, 1]) / original
        cam += weight[:, None, None] * activations[:, channel]

    ours = map_of("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1)

    expected = min_max_scale(upsample_masks(cam.relu(), (32, 32)))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_ablation_cam_is_not_turned_round_by_a_negative_logit(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    expected = map_of("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1)

    head_of(tiny_cnn).bias.data -= 20

    ours = map_of("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_ablation_cam_spares_the_passes_of_silent_channels(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    expected = map_of("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1)
    live = run_method("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1).forward_passes
    bias = tiny_cnn.network.get_submodule("features.3").bias
    assert isinstance(bias, Tensor)
    head_of(tiny_cnn).weight.data[:, 4] = 0  # a channel that the logits do not need
    without_need = map_of("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1)
    bias.data[4] -= 1e3  # and one that is silent

    maps = run_method("ablation_cam", tiny_cnn, tiny_inputs, LAYER, 1)

    assert (maps.forward_passes == live - 1).all()
    torch.testing.assert_close(maps.saliency_map, without_need, rtol=0, atol=1e-5)
    assert not torch.allclose(expected, without_need, atol=1e-3)


def test_recipro_cam_scores_each_cell_alone(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    layer = resolve_target_layer(tiny_cnn, LAYER)
    activations = activations_at(tiny_cnn, tiny_inputs, layer)[0]
    cam = torch.zeros(3, 16, 16)
    for row in range(16):
        for column in range(16):
            only = torch.zeros_like(activations)
            only[:, :, row, column] = activations[:, :, row, column]
            cam[:, row, column] = tail(tiny_cnn, only).softmax(1)[:, 2]

    ours = map_of("recipro_cam", tiny_cnn, tiny_inputs, LAYER, 2)

    expected = min_max_scale(F.interpolate(cam[:, None], (32, 32), mode="bilinear")[:, 0])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-3)


class CellsThatSpeakForThemselves(nn.Module):
    """The logit of class 0 is the largest value of any cell."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 1, 4, stride=4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        peak = self.features(x).amax((1, 2, 3))
        return torch.stack([peak, torch.zeros_like(peak)], dim=1)


def test_recipro_cam_peaks_in_the_cell_that_decides() -> None:
    network = CellsThatSpeakForThemselves()
    conv = network.features.get_submodule("0")
    assert isinstance(conv, nn.Conv2d)
    conv.weight.data.fill_(0.1)
    assert conv.bias is not None
    conv.bias.data.zero_()
    picture = torch.zeros(1, 3, 16, 16)
    picture[0, :, 4:8, 8:12] = 1  # row 1, column 2 of 4 x 4 cells
    backbone = as_backbone(network, (16, 16), classes=2)

    saliency = map_of("recipro_cam", backbone, picture, "features.1", 0)[0]

    assert divmod(int(saliency.argmax()), 16) in {(r, c) for r in (5, 6) for c in (9, 10)}
    assert saliency[12:, :4].max() == 0
