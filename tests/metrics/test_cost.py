import time

import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.cost import count_forward_passes, measure_cost
from groupcam.models import Backbone
from groupcam.saliency import GroupCamConfig, explain

CLASSES = torch.tensor([0, 1, 2])


def test_forward_passes_are_those_that_an_explanation_says(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    said: list[int] = []

    def group_cam(backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
        config = GroupCamConfig(groups=6, blur_kernel_px=9)
        batch = explain(backbone, inputs, config, "features.3", classes)
        said.append(int(batch.forward_passes.sum()))
        return batch.saliency_map

    cost = measure_cost(tiny_cnn, tiny_inputs, CLASSES, group_cam)

    assert said[0] > 3 * 2
    assert cost.forward_passes == pytest.approx(said[0] / 3)
    assert cost.seconds > 0
    # Warmed up once, counted once, timed three times.
    assert len(said) == 5


def test_seconds_are_those_of_one_picture(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    def slow(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        time.sleep(0.03)
        return inputs[:, 0]

    cost = measure_cost(tiny_cnn, tiny_inputs, CLASSES, slow, repeats=1)

    assert 0.01 <= cost.seconds < 0.1
    assert cost.forward_passes == 0


def test_no_hook_stays_on_the_network_when_a_method_fails(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    def failing(backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        backbone.logits(inputs)
        raise KeyError("no map")

    with pytest.raises(KeyError, match="no map"):
        count_forward_passes(tiny_cnn, tiny_inputs, CLASSES, failing)

    assert not tiny_cnn.network._forward_pre_hooks


def test_maps_of_another_size_are_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    def small(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        return inputs[:, 0, ::2, ::2]

    with pytest.raises(GroupCamError, match=r"input's size, \(32, 32\); got \(16, 16\)"):
        count_forward_passes(tiny_cnn, tiny_inputs, CLASSES, small)
    with pytest.raises(GroupCamError, match="repeats=0"):
        measure_cost(tiny_cnn, tiny_inputs, CLASSES, small, repeats=0)
