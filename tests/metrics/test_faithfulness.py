import math

import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.adcc import Adcc, adcc, adcc_steps, complexity
from groupcam.metrics.faithfulness import Faithfulness, faithfulness_steps
from groupcam.metrics.protocols import Baseline
from groupcam.models import Backbone
from groupcam.saliency import engine, finish


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def picture_of(*pixels: float) -> Tensor:
    """Return a grey 2 x 2 picture, (1, 3, 2, 2)."""
    return torch.tensor(pixels, dtype=torch.float32).reshape(1, 1, 2, 2).expand(1, 3, 2, 2).clone()


ZERO_CLASS = torch.tensor([0])


def test_showing_and_hiding_by_hand(pixel_sum: Backbone) -> None:
    # The log-odds are the mean of the pixels: 3; shown 0, 0, 1.5, 6: 1.875; hidden 1, 2, 1.5, 0.
    maps = torch.tensor([[[0.0, 0.0], [0.5, 1.0]]])

    found = finish(faithfulness_steps(pixel_sum, picture_of(1, 2, 3, 6), maps, ZERO_CLASS))

    p, o, d = sigmoid(3), sigmoid(1.875), sigmoid(1.125)
    assert (float(found.probability), float(found.shown)) == pytest.approx((p, o))
    assert float(found.hidden) == pytest.approx(d)
    assert float(found.average_drop) == pytest.approx((p - o) / p)
    assert float(found.average_drop_in_deletion) == pytest.approx((p - d) / p)
    assert float(found.increase_in_confidence) == 0
    assert float(found.average_gain) == 0


def test_a_map_that_leaves_out_what_speaks_against_the_class_gains(pixel_sum: Backbone) -> None:
    # 1 of 4 + 4 - 2 - 2; shown 4, 4, 0, 0: 2; hidden 0, 0, -2, -2: -1.
    maps = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])

    found = finish(faithfulness_steps(pixel_sum, picture_of(4, 4, -2, -2), maps, ZERO_CLASS))

    p, o, d = sigmoid(1), sigmoid(2), sigmoid(-1)
    assert float(found.average_drop) == 0
    assert float(found.increase_in_confidence) == 1
    assert float(found.average_gain) == pytest.approx((o - p) / (1 - p))
    assert float(found.average_drop_in_deletion) == pytest.approx((p - d) / p)


def test_a_full_map_drops_nothing_and_hides_everything(pixel_sum: Backbone) -> None:
    picture = picture_of(1, 2, 3, 6)

    full = finish(faithfulness_steps(pixel_sum, picture, torch.ones(1, 2, 2), ZERO_CLASS))
    empty = finish(faithfulness_steps(pixel_sum, picture, torch.zeros(1, 2, 2), ZERO_CLASS))

    assert float(full.average_drop) == float(full.increase_in_confidence) == 0
    assert float(full.hidden) == pytest.approx(0.5)
    assert float(empty.shown) == pytest.approx(0.5)
    assert float(empty.average_drop_in_deletion) == 0


def test_the_baseline_stands_where_the_map_hides(pixel_sum: Backbone) -> None:
    # The picture's mean colour, 3, takes the place of 1, 2 and half of 3.
    maps = torch.tensor([[[0.0, 0.0], [0.5, 1.0]]])

    found = finish(
        faithfulness_steps(
            pixel_sum, picture_of(1, 2, 3, 6), maps, ZERO_CLASS, baseline=Baseline("mean")
        )
    )

    assert float(found.shown) == pytest.approx(sigmoid((3 + 3 + 3 + 6) / 4))
    assert float(found.hidden) == pytest.approx(sigmoid((1 + 2 + 3 + 3) / 4))


def test_certain_pictures_give_numbers() -> None:
    sure = Faithfulness(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.5]), torch.tensor([0, 0.5]))

    assert sure.average_gain.tolist() == [0.0, 0.5]
    assert sure.average_drop.tolist() == [0.0, 0.0]
    assert sure.average_drop_in_deletion.tolist() == [1.0, 0.0]


def test_micro_batches_do_not_change_probabilities(
    tiny_cnn: Backbone,
    tiny_inputs: Tensor,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maps, classes = torch.rand(3, 32, 32, generator=generator), torch.tensor([0, 1, 2])
    together = finish(faithfulness_steps(tiny_cnn, tiny_inputs, maps, classes))

    monkeypatch.setattr(engine, "MICRO_BATCH_CPU", 1)
    steps = faithfulness_steps(tiny_cnn, tiny_inputs, maps, classes)

    assert next(steps) == 1
    steps.close()
    alone = finish(faithfulness_steps(tiny_cnn, tiny_inputs, maps, classes))
    torch.testing.assert_close(alone.shown, together.shown)
    torch.testing.assert_close(alone.hidden, together.hidden)


def test_maps_that_cannot_mix_pictures_are_refused(pixel_sum: Backbone) -> None:
    picture = picture_of(1, 2, 3, 6)

    with pytest.raises(GroupCamError, match=r"in \[0, 1\] .* from 0 to 2"):
        finish(faithfulness_steps(pixel_sum, picture, 2 * torch.eye(2)[None], ZERO_CLASS))
    with pytest.raises(GroupCamError, match=r"input's size, \(2, 2\); got \(3, 3\)"):
        finish(faithfulness_steps(pixel_sum, picture, torch.eye(3)[None], ZERO_CLASS))


def test_adcc_is_the_harmonic_mean_of_its_parts() -> None:
    drop, coherency, complex_ = torch.tensor([[0.5, 0.2, 1.0], [0.5, 1.0, 0.9], [0.5, 0.4, 0.1]])

    score = adcc(drop, coherency, complex_)

    # 3 / (1 / 0.8 + 1 / 1 + 1 / 0.6) is 36 / 47; a drop of 1 leaves nothing.
    assert score.tolist() == pytest.approx([0.5, 36 / 47, 0.0])
    assert Adcc(drop, coherency, complex_).score.tolist() == score.tolist()


def test_adcc_of_a_picture_by_hand(pixel_sum: Backbone) -> None:
    def brightness(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        return inputs.mean(dim=1)

    # The map is the picture, so the picture through it is its square, and so is the second map.
    picture = picture_of(0.0, 0.5, 0.5, 1.0)
    maps = brightness(pixel_sum, picture, ZERO_CLASS)

    found = finish(adcc_steps(pixel_sum, picture, maps, ZERO_CLASS, brightness))

    # Deviations -2, 0, 0, 2 (quarters) and -6, -2, -2, 10 (sixteenths): 32 / root of 8 x 144.
    assert float(found.coherency) == pytest.approx((1 + 32 / math.sqrt(8 * 144)) / 2)
    assert float(found.complexity) == 0.5
    p, o = sigmoid(0.5), sigmoid(1.5 / 4)
    assert float(found.average_drop) == pytest.approx((p - o) / p)


def test_a_flat_map_is_half_as_coherent_as_the_same_map_again(pixel_sum: Backbone) -> None:
    picture = picture_of(0.0, 0.5, 0.5, 1.0)

    def flat(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
        return torch.zeros(len(inputs), 2, 2)

    some = torch.eye(2)[None]
    both = finish(adcc_steps(pixel_sum, picture, torch.zeros(1, 2, 2), ZERO_CLASS, flat))
    one = finish(adcc_steps(pixel_sum, picture, some, ZERO_CLASS, flat))

    assert (float(both.coherency), float(one.coherency)) == (1.0, 0.5)
    assert complexity(torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])).tolist() == [0, 1]
