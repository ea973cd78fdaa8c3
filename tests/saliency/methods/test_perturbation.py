"""Score-CAM, RISE and occlusion against plain loops, and what their maps mean."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam import GroupCamError
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency.methods.occlusion import place_windows
from groupcam.saliency.methods.passes import activations_at
from groupcam.saliency.methods.rise import RandomMasks
from groupcam.saliency.scoring import min_max_scale
from tests.saliency.methods.support import NO_LAYER, map_of, run_method
from tests.support import PixelSum, as_backbone

LAYER = "features.4"


@pytest.mark.parametrize("weighting", ["probability", "increase", "softmax"])
def test_score_cam_weighs_channels_by_the_picture_seen_through_them(
    tiny_cnn: Backbone, tiny_inputs: Tensor, weighting: str
) -> None:
    layer = resolve_target_layer(tiny_cnn, LAYER)
    picture = tiny_inputs[:1]
    channels = activations_at(tiny_cnn, picture, layer)[0][0]
    resized, scores = [], []
    with torch.no_grad():
        of_nothing = tiny_cnn.network(torch.zeros_like(picture)).softmax(1)[0, 1]
        for channel in channels:
            mask = F.interpolate(channel[None, None], (32, 32), mode="bilinear")[0, 0]
            if mask.max() == mask.min():
                continue
            scaled = (mask - mask.min()) / (mask.max() - mask.min())
            logits = tiny_cnn.network(picture * scaled)[0]
            probability = logits.softmax(0)[1]
            score = {
                "probability": probability,
                "increase": probability - of_nothing,
                "softmax": logits[1],
            }[weighting]
            resized.append(mask)
            scores.append(score)
    weights = torch.stack(scores)
    if weighting == "softmax":
        weights = weights.softmax(0)
    expected = torch.einsum("c,chw->hw", weights, torch.stack(resized)).relu()

    ours = map_of("score_cam", tiny_cnn, picture, LAYER, 1, weighting=weighting)[0]

    torch.testing.assert_close(ours, min_max_scale(expected), rtol=0, atol=1e-4)
    assert expected.any()


def test_score_cams_named_variants_are_its_weightings(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    maps = {}
    for name, weighting in (
        ("score_cam", "probability"),
        ("score_cam_increase", "increase"),
        ("score_cam_softmax", "softmax"),
    ):
        maps[name] = map_of(name, tiny_cnn, tiny_inputs, LAYER, 1)
        same = map_of("score_cam", tiny_cnn, tiny_inputs, LAYER, 1, weighting=weighting)
        assert torch.equal(maps[name], same)
    for one, other in itertools.combinations(maps.values(), 2):
        assert not torch.allclose(one, other, atol=1e-3)


def test_score_cam_spares_the_passes_of_flat_channels(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    live = run_method("score_cam", tiny_cnn, tiny_inputs, LAYER, 1).forward_passes
    bias = tiny_cnn.network.get_submodule("features.3").bias
    assert isinstance(bias, Tensor)
    bias.data[4] -= 1e3

    silenced = run_method("score_cam", tiny_cnn, tiny_inputs, LAYER, 1).forward_passes

    assert (silenced == live - 1).all()


@pytest.mark.parametrize("shown", [0.3, 0.5])
def test_rise_estimates_the_mean_over_all_masks(shown: float) -> None:
    network = PixelSum()
    backbone = as_backbone(network, (6, 6), classes=2)
    picture = torch.zeros(1, 3, 6, 6)
    picture[:, :, 0:3, 1:4] = 16
    # Every mask of 2 x 2 cells of 3 x 3 pixels, at every shift, with its chance.
    exact = torch.zeros(6, 6)
    for cells in itertools.product((0.0, 1.0), repeat=4):
        chance = shown ** sum(cells) * (1 - shown) ** (4 - sum(cells)) / 9
        grid = torch.tensor(cells).view(1, 1, 2, 2)
        larger = F.interpolate(grid, (9, 9), mode="bilinear")[0, 0]
        for top, left in itertools.product(range(3), repeat=2):
            mask = larger[top : top + 6, left : left + 6]
            with torch.no_grad():
                probability = network(picture * mask).softmax(1)[0, 0]
            exact += chance * probability * mask / shown

    ours = map_of("rise", backbone, picture, NO_LAYER, 0, masks=8000, cells=2, shown=shown)[0]

    assert exact.max() - exact.min() > 0.1
    torch.testing.assert_close(ours, min_max_scale(exact), rtol=0, atol=0.15)
    assert torch.corrcoef(torch.stack([ours.flatten(), exact.flatten()]))[0, 1] > 0.99


def test_random_masks_show_each_pixel_with_the_given_chance() -> None:
    masks = RandomMasks(4000, cells=7, shown=0.3, size=(30, 20), seed=1)

    built = masks.at(torch.arange(4000))

    assert built.shape == (4000, 30, 20)
    assert built.min() == 0
    assert built.max() == pytest.approx(1)
    torch.testing.assert_close(built.mean(0), torch.full((30, 20), 0.3), rtol=0, atol=0.03)
    assert torch.equal(masks.at(torch.tensor([7, 3])), built[[7, 3]])


def test_rise_depends_on_its_seed(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    maps = [map_of("rise", tiny_cnn, tiny_inputs, LAYER, 1, masks=20, seed=s) for s in (0, 0, 1)]

    assert torch.equal(maps[0], maps[1])
    assert not torch.allclose(maps[0], maps[2], atol=0.1)


def test_occlusion_is_the_mean_loss_of_the_windows_over_a_pixel(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    picture = tiny_inputs[:1, :, :28, :24]
    sums, counts = torch.zeros(28, 24), torch.zeros(28, 24)
    with torch.no_grad():
        original = tiny_cnn.network(picture).softmax(1)[0, 1]
        for top, left in itertools.product(range(3), repeat=2):  # 4 x 4 cells, windows of 2 x 2
            rows, columns = slice(7 * top, 7 * top + 14), slice(6 * left, 6 * left + 12)
            covered = picture.clone()
            covered[:, :, rows, columns] = 0
            loss = original - tiny_cnn.network(covered).softmax(1)[0, 1]
            sums[rows, columns] += loss
            counts[rows, columns] += 1
    expected = min_max_scale((sums / counts).relu())

    ours = map_of("occlusion", tiny_cnn, picture, LAYER, 1, cells=4)[0]

    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.any()


@pytest.mark.parametrize("size", [(28, 24), (31, 17), (14, 14)])
@pytest.mark.parametrize("window", [1, 2, 14])
def test_windows_cover_every_pixel(size: tuple[int, int], window: int) -> None:
    windows = place_windows(size, cells=14, window=window)

    assert windows.shape == ((15 - window) ** 2, *size)
    assert windows.any(0).all()
    assert windows.flatten(1).any(1).all()
    if window == 1:
        assert (windows.sum(0) == 1).all()


@pytest.mark.parametrize("name", ["occlusion", "rise"])
def test_a_bright_square_is_what_makes_a_bright_picture(name: str) -> None:
    picture = torch.zeros(1, 3, 28, 28)
    picture[:, :, 4:12, 16:24] = 20
    backbone = as_backbone(PixelSum(), (28, 28), classes=2)

    saliency = map_of(name, backbone, picture, NO_LAYER, 0)[0]

    assert saliency[4:12, 16:24].mean() > 1.5 * saliency.mean()
    row, column = divmod(int(saliency.argmax()), 28)
    assert 3 <= row < 13
    assert 15 <= column < 25


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("occlusion", {"window": 0}, "window must be at least 1; got 0"),
        ("occlusion", {"cells": 2, "window": 3}, "cells must be at least 3; got 2"),
        ("occlusion", {"cells": 33}, "cells must be at most 32"),
        ("rise", {"masks": 0}, "masks must be at least 1"),
        ("rise", {"shown": 1.0}, "shown must be between 0 and 1; got 1.0"),
        ("rise", {"cells": 0}, "cells must be at least 1"),
    ],
)
def test_impossible_options_are_refused_before_any_pass(
    tiny_cnn: Backbone, tiny_inputs: Tensor, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(GroupCamError, match=message):
        map_of(name, tiny_cnn, tiny_inputs, LAYER, 0, **options)
