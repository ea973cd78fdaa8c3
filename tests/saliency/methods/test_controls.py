"""Controls know nothing of the class, and what they do know is this."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam import METHODS
from groupcam.models import Backbone
from groupcam.saliency.scoring import min_max_scale
from tests.saliency.methods.support import map_of, run_method

CONTROLS = [name for name, method in METHODS.items() if method.kind == "control"]


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_cost_nothing_and_do_not_depend_on_class_or_weights(
    tiny_cnn: Backbone, tiny_inputs: Tensor, name: str
) -> None:
    first = run_method(name, tiny_cnn, tiny_inputs, class_index=0)
    for parameter in tiny_cnn.network.parameters():
        parameter.data.mul_(-2)
    second = run_method(name, tiny_cnn, tiny_inputs, "features.4", class_index=1)

    assert torch.equal(first.saliency_map, second.saliency_map)
    assert not first.forward_passes.any()
    assert not first.backward_passes.any()


def test_random_depends_on_its_seed_and_grid_only(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    maps = map_of("random", tiny_cnn, tiny_inputs)

    assert torch.equal(maps[0], maps[2])
    assert torch.equal(maps, map_of("random", tiny_cnn, tiny_inputs.flip(0), seed=0))
    assert not torch.allclose(maps, map_of("random", tiny_cnn, tiny_inputs, seed=1), atol=0.1)
    fine = map_of("random", tiny_cnn, tiny_inputs, cells=32)[0]
    assert len(fine.unique()) > 1000


def test_centre_is_a_round_hill_in_the_middle(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    hill = map_of("centre", tiny_cnn, tiny_inputs)[0]

    torch.testing.assert_close(hill, hill.flip(0))
    torch.testing.assert_close(hill, hill.T)
    assert set(hill.flatten().topk(4).indices.tolist()) == {
        32 * row + column for row in (15, 16) for column in (15, 16)
    }
    assert (hill[16, 16:].diff() < 0).all()


def test_sobel_finds_edges_in_the_picture_as_it_looks(tiny_cnn: Backbone) -> None:
    step = torch.full((1, 3, 32, 32), -1.0)
    step[:, :, :, 20:] = 1  # black left, white right

    edges = map_of("sobel", tiny_cnn, step)[0]

    assert edges[:, 19:21].min() == 1
    assert edges[:, :19].max() == edges[:, 21:].max() == 0


def test_sobel_is_the_gradient_magnitude_of_the_grey_picture(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    rgb = ((tiny_inputs + 1) * 127.5).round()
    grey = (rgb * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True).round()
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernels = torch.stack([across, across.T])[:, None]
    expected = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels).norm(dim=1)

    ours = map_of("sobel", tiny_cnn, tiny_inputs)

    # OpenCV weighs the colours with whole numbers, so a grey value may differ by one.
    torch.testing.assert_close(ours, min_max_scale(expected), rtol=0, atol=0.05)
