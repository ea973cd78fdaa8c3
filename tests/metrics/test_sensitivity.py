import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.sensitivity import max_sensitivity_steps
from groupcam.models import Backbone
from groupcam.saliency import finish

CLASSES = torch.tensor([0, 1, 2])


def red(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
    return inputs[:, 0]


def test_a_linear_map_moves_as_far_as_the_picture(tiny_cnn: Backbone) -> None:
    inputs = torch.full((2, 3, 32, 32), 2.0)
    inputs[1] = 4.0

    found = finish(max_sensitivity_steps(tiny_cnn, inputs, CLASSES[:2], red, radius=0.3))

    # Uniform in [-0.3, 0.3]: a root mean square of 0.3 / sqrt(3), against 2 and 4.
    assert found.tolist() == pytest.approx([0.0866, 0.0433], rel=0.03)


def test_the_largest_of_all_samples_counts(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    def sensitivity(samples: int, seed: int = 0) -> Tensor:
        return finish(
            max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, red, samples=samples, seed=seed)
        )

    one, many = sensitivity(1), sensitivity(10)

    assert (many >= one).all()
    assert (many > one).any()
    assert torch.equal(sensitivity(1), one)
    assert not torch.equal(sensitivity(1, seed=1), one)


def test_pictures_stay_within_the_radius(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    seen: list[Tensor] = []

    def noted(backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
        seen.append(inputs)
        assert torch.equal(classes, CLASSES)
        return red(backbone, inputs, classes)

    finish(max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, noted, radius=0.1, samples=3))

    assert torch.equal(seen[0], tiny_inputs)
    distances = [float((inputs - tiny_inputs).abs().max()) for inputs in seen[1:]]
    assert len(distances) == 3
    assert all(0.09 < distance <= 0.1 + 1e-6 for distance in distances)


def test_maps_that_never_move_have_none_and_empty_maps_all_or_nothing(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    first = tiny_inputs.clone()

    def constant(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        return torch.ones(len(inputs), 32, 32)

    def empty_at_first(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        maps = torch.zeros(len(inputs), 32, 32)
        maps[0] += float(not torch.equal(inputs, first))
        return maps

    constants = finish(max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, constant))
    emptied = finish(max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, empty_at_first))

    assert constants.tolist() == [0, 0, 0]
    assert emptied.tolist() == [1, 0, 0]


def test_it_can_be_stopped_and_refuses_what_is_no_neighbourhood(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    steps = max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, red)
    assert [next(steps), next(steps)] == [1, 2]
    steps.close()

    with pytest.raises(GroupCamError, match="radius=0, samples=10"):
        finish(max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, red, radius=0))
    with pytest.raises(GroupCamError, match="samples=0"):
        finish(max_sensitivity_steps(tiny_cnn, tiny_inputs, CLASSES, red, samples=0))
