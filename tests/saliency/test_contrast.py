"""Why this class and not that one: the laws of the two maps, and that they mean what they say."""

import pytest
import torch
from torch import Tensor

import groupcam
from groupcam.errors import GroupCamError
from groupcam.models import Backbone
from groupcam.saliency import GroupCamConfig
from groupcam.saliency.contrast import Contrast, Side, contrast, contrast_steps
from groupcam.saliency.group_cam import Progress
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.scoring import upsample_masks
from tests.support import ROOT, head_of

PICTURE = ROOT / "assets" / "examples" / "cat_and_espresso.jpg"  # the cat above, the cup below
CONFIG = GroupCamConfig(groups=16)
CAT, ESPRESSO = 285, 967
FEW = GroupCamConfig(groups=4)


@pytest.fixture(scope="module")
def cat_or_espresso(lite0: Backbone) -> Contrast:
    return contrast(lite0, PICTURE, class_index=CAT, against=ESPRESSO, config=CONFIG)


def share_of_upper_half(side: Side) -> float:
    half = side.saliency_map.shape[0] // 2
    return float(side.saliency_map[:half].sum() / side.saliency_map.sum())


def assert_same_side(one: Side, other: Side) -> None:
    for name in ("saliency_map", "cell_masks", "group_weights", "masked_share", "masked_both"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-4)
    for name in ("share", "baseline_share", "probability"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5)
    assert (one.class_index, one.class_label) == (other.class_index, other.class_label)
    assert one.blank_reason == other.blank_reason


def test_each_class_gets_its_own_half_of_the_picture(cat_or_espresso: Contrast) -> None:
    assert share_of_upper_half(cat_or_espresso.first) > 0.8
    assert share_of_upper_half(cat_or_espresso.second) < 0.2


def test_swapping_the_classes_swaps_the_sides(lite0: Backbone, cat_or_espresso: Contrast) -> None:
    swapped = contrast(lite0, PICTURE, class_index=ESPRESSO, against=CAT, config=CONFIG)

    assert_same_side(swapped.first, cat_or_espresso.second)
    assert_same_side(swapped.second, cat_or_espresso.first)
    assert swapped.forward_passes == cat_or_espresso.forward_passes


def test_it_costs_at_most_twice_what_one_explanation_costs(
    lite0: Backbone, cat_or_espresso: Contrast
) -> None:
    alone = groupcam.explain(lite0, PICTURE, CONFIG, class_index=CAT)

    live = [
        int((side.cell_masks.flatten(1).amax(1) > 0).sum())
        for side in (cat_or_espresso.first, cat_or_espresso.second)
    ]
    assert cat_or_espresso.forward_passes == 3 + sum(live) <= 2 * (16 + 2)
    assert cat_or_espresso.forward_passes <= 2 * alone.forward_passes


def test_numbers_of_both_sides_agree(cat_or_espresso: Contrast) -> None:
    first, second = cat_or_espresso.first, cat_or_espresso.second
    both = first.probability + second.probability

    assert (first.class_label, second.class_label) == ("Egyptian cat", "espresso")
    assert first.share == pytest.approx(first.probability / both, abs=1e-5)
    assert first.share + second.share == pytest.approx(1, abs=1e-6)
    assert first.baseline_share + second.baseline_share == pytest.approx(1, abs=1e-6)
    for side in (first, second):
        gains = (side.masked_share - side.baseline_share).clamp(min=0) * side.masked_both
        torch.testing.assert_close(side.group_weights, gains, rtol=0, atol=1e-6)
        assert (float(side.saliency_map.min()), float(side.saliency_map.max())) == (0, 1)


def test_masked_shares_are_those_of_the_pictures_seen_through_the_masks(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    inputs = tiny_inputs[:1]
    found = contrast(tiny_cnn, inputs, class_index=2, against=0, config=FEW)
    # Seen through a mask, by hand: the picture where it is 1, the blurred one where it is 0.
    blurred = gaussian_blur(inputs, 50.0, 51)

    for side, (own, other) in ((found.first, (2, 0)), (found.second, (0, 2))):
        masks = upsample_masks(side.cell_masks, (32, 32))
        for group, mask in enumerate(masks):
            span = mask.max() - mask.min()
            scaled = (mask - mask.min()) / span if span > 0 else torch.zeros_like(mask)
            shown = inputs * scaled + blurred * (1 - scaled)
            with tiny_cnn.frozen(), torch.no_grad():
                p = tiny_cnn.logits(shown)[0].softmax(0)
            expected = float(p[own] / (p[own] + p[other]))
            assert float(side.masked_share[group]) == pytest.approx(expected, abs=1e-4)
            assert float(side.masked_both[group]) == pytest.approx(
                float(p[own] + p[other]), abs=1e-4
            )


def test_classes_with_equal_logits_have_nothing_to_tell_them_apart(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    head = head_of(tiny_cnn)
    head.weight.data[1], head.bias.data[1] = head.weight.data[0], head.bias.data[0]

    found = contrast(tiny_cnn, tiny_inputs[:1], class_index=0, against=1, config=FEW)

    for side in (found.first, found.second):
        assert side.share == pytest.approx(0.5)
        assert not side.saliency_map.any()
        assert side.blank_reason is not None
        assert "no group of channels speaks for" in side.blank_reason
    assert found.forward_passes == 3


def test_logits_far_below_the_others_give_finite_shares(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    head_of(tiny_cnn).bias.data += torch.tensor([-400.0, -400.0, 0.0])

    found = contrast(tiny_cnn, tiny_inputs[:1], class_index=0, against=1, config=FEW)

    for side in (found.first, found.second):
        assert 0 < side.share < 1
        assert torch.isfinite(side.masked_share).all()
        assert torch.isfinite(side.saliency_map).all()


def test_progress_counts_every_forward_pass(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    steps = contrast_steps(tiny_cnn, tiny_inputs[:1], class_index=0, against=1, config=FEW)
    seen: list[Progress] = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            found: Contrast = end.value
            break

    done = [step.done for step in seen]
    assert done == sorted(done)
    assert (seen[0].stage, seen[0].done, seen[-1].stage) == ("capture", 2, "merge")
    assert {step.total for step in seen} == {found.forward_passes} == {done[-1]}


def test_a_class_is_not_compared_with_itself(lite0: Backbone) -> None:
    with pytest.raises(GroupCamError, match=r"two classes; got 'Egyptian cat' \(285\) for both"):
        contrast(lite0, PICTURE, class_index=CAT, against=CAT)


def test_a_batch_is_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    contrast(tiny_cnn, tiny_inputs[:1], class_index=0, against=1, config=FEW)

    with pytest.raises(GroupCamError, match="must be of one picture; got 3"):
        contrast(tiny_cnn, tiny_inputs, class_index=0, against=1, config=FEW)


def test_an_unknown_class_is_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    with pytest.raises(GroupCamError, match="class index must be between 0 and 2"):
        contrast(tiny_cnn, tiny_inputs[:1], class_index=0, against=3)


def test_the_network_is_left_as_found(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    tiny_cnn.network.train()
    state = torch.get_rng_state()

    contrast(tiny_cnn, tiny_inputs[:1], class_index=0, against=1, config=FEW)

    assert all(module.training for module in tiny_cnn.network.modules())
    assert all(not module._forward_hooks for module in tiny_cnn.network.modules())
    assert all(parameter.grad is None for parameter in tiny_cnn.network.parameters())
    assert torch.equal(torch.get_rng_state(), state)
