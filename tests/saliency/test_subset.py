"""Groups switched off: what the map of the rest is, without any forward pass."""

import dataclasses

import pytest
import torch
from torch import Tensor

import groupcam
from groupcam.errors import GroupCamError
from groupcam.models import Backbone
from groupcam.saliency import Explanation, GroupCamConfig
from groupcam.saliency.config import Merge
from groupcam.saliency.scoring import min_max_scale
from groupcam.saliency.subset import map_of_groups

CONFIGS = pytest.mark.parametrize(
    "config",
    [
        GroupCamConfig(groups=6, merge="normalized"),
        dataclasses.replace(GroupCamConfig.official(), groups=6),
        GroupCamConfig(groups=6, merge="whole"),
        GroupCamConfig(groups=6, merge="balanced"),
    ],
    ids=["normalized", "raw", "whole", "balanced"],
)


def explained(backbone: Backbone, inputs: Tensor, config: GroupCamConfig) -> Explanation:
    """Return an explanation in which several groups have a weight."""
    result = groupcam.explain(backbone, inputs[:1], config)[0]
    assert (result.group_weights > 0).sum() >= 2
    return result


@CONFIGS
def test_all_groups_give_the_explanations_own_map(
    tiny_cnn: Backbone, tiny_inputs: Tensor, config: GroupCamConfig
) -> None:
    result = explained(tiny_cnn, tiny_inputs, config)

    saliency_map, reason = map_of_groups(result, range(6))

    torch.testing.assert_close(saliency_map, result.saliency_map, rtol=0, atol=1e-6)
    assert reason is None


@CONFIGS
def test_one_group_alone_gives_its_own_mask(
    tiny_cnn: Backbone, tiny_inputs: Tensor, config: GroupCamConfig
) -> None:
    result = explained(tiny_cnn, tiny_inputs, config)
    heaviest = int(result.group_weights.argmax())

    saliency_map, reason = map_of_groups(result, [heaviest])

    if config.merge == "whole":  # in the map, the mask is without the de-noising
        result = dataclasses.replace(result, cell_masks=result.whole_masks)
    if config.merge == "balanced":  # divided by the root of what is shown: of itself
        root = min_max_scale(result.whole_masks).sqrt()
        result = dataclasses.replace(result, cell_masks=root)
    torch.testing.assert_close(saliency_map, result.group_masks[heaviest], rtol=0, atol=1e-5)
    assert reason is None


@pytest.mark.parametrize("merge", ["raw", "normalized", "whole"])  # where masks are summed up
def test_a_group_of_weight_0_may_be_switched_off_without_a_trace(
    tiny_cnn: Backbone, tiny_inputs: Tensor, merge: Merge
) -> None:
    config = GroupCamConfig(groups=6, grouping="contiguous", evidence="signed", merge=merge)
    result = explained(tiny_cnn, tiny_inputs, config)
    weights = result.group_weights.clone()
    weights[0] = 0
    result = dataclasses.replace(result, group_weights=weights)

    without, _ = map_of_groups(result, range(1, 6))

    torch.testing.assert_close(without, map_of_groups(result, range(6))[0], rtol=0, atol=0)


def test_switching_a_heavy_group_off_changes_the_map(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    result = explained(tiny_cnn, tiny_inputs, GroupCamConfig(groups=6))
    heaviest = int(result.group_weights.argmax())

    saliency_map, _ = map_of_groups(result, set(range(6)) - {heaviest})

    assert (saliency_map - result.saliency_map).abs().max() > 0.05
    assert (float(saliency_map.min()), float(saliency_map.max())) == (0, 1)


def test_no_group_gives_zeros_and_a_reason(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    saliency_map, reason = map_of_groups(
        explained(tiny_cnn, tiny_inputs, GroupCamConfig(groups=6)), []
    )

    assert not saliency_map.any()
    assert reason == "No group is switched on. Switch one on."


def test_groups_without_weight_give_zeros_and_name_themselves(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    result = explained(tiny_cnn, tiny_inputs, GroupCamConfig(groups=6))
    weights = result.group_weights.clone()
    weights[2] = weights[4] = 0

    saliency_map, reason = map_of_groups(
        dataclasses.replace(result, group_weights=weights), [4, 2, 2]
    )

    assert not saliency_map.any()
    assert reason is not None
    assert "Groups 3, 5 did not raise" in reason


def test_a_blank_map_keeps_its_own_reason(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    result = explained(tiny_cnn, tiny_inputs, GroupCamConfig(groups=6))
    blank = dataclasses.replace(
        result, group_weights=torch.zeros(6), blank_reason="No group mask helps."
    )

    reason = map_of_groups(blank, range(6))[1]

    assert reason == blank.why_blank
    assert str(reason).startswith("No group mask brings 'class 1' above the ")


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        pytest.param([0, 6], GroupCamError, "groups must be between 0 and 5; got 6", id="above"),
        pytest.param([-1], GroupCamError, "groups must be between 0 and 5; got -1", id="below"),
        pytest.param([0.5], TypeError, "groups must be whole numbers; got 0.5", id="fraction"),
    ],
)
def test_groups_that_are_not_there_are_refused(
    tiny_cnn: Backbone,
    tiny_inputs: Tensor,
    groups: list[int],
    error: type[Exception],
    message: str,
) -> None:
    result = explained(tiny_cnn, tiny_inputs, GroupCamConfig(groups=6))
    map_of_groups(result, [0, 5])

    with pytest.raises(error, match=message):
        map_of_groups(result, groups)
