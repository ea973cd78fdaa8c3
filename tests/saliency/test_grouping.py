import dataclasses

import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.saliency.config import GroupCamConfig, Grouping
from groupcam.saliency.grouping import (
    compute_group_masks,
    denoise,
    group_channels,
    group_masks_of,
)


@pytest.mark.parametrize(("channels", "groups"), [(12, 4), (12, 5), (7, 7), (9, 1), (320, 31)])
def test_contiguous_groups_keep_order_and_differ_by_at_most_one(channels: int, groups: int) -> None:
    weighted = torch.zeros(2, channels, 3, 3)

    labels = group_channels(weighted, groups, "contiguous")

    sizes = torch.bincount(labels[0], minlength=groups)
    assert labels.shape == (2, channels)
    assert (labels[0].diff() >= 0).all()
    assert sizes.max() - sizes.min() <= 1
    assert sizes.min() >= 1


@pytest.mark.parametrize("grouping", ["similar", "kmeans", "agglomerative"])
def test_clustering_puts_equal_maps_together(grouping: Grouping) -> None:
    corners = torch.zeros(3, 4, 4)
    corners[0, 0, 0] = corners[1, 0, 3] = corners[2, 3, 3] = 1.0
    kind = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0])
    weighted = corners[kind][None] * torch.linspace(1, 1.1, 9)[None, :, None, None]

    labels = group_channels(weighted, 3, grouping)[0]

    same_kind = kind[:, None] == kind[None]
    same_group = labels[:, None] == labels[None]
    assert torch.equal(same_kind, same_group)


@pytest.mark.parametrize("grouping", ["contiguous", "similar", "kmeans", "agglomerative"])
@pytest.mark.parametrize("groups", [1, 2, 11, 12])
def test_every_group_count_from_one_to_all_channels_works(
    grouping: Grouping, groups: int, generator: torch.Generator
) -> None:
    weighted = torch.randn(1, 12, 3, 3, generator=generator)

    labels = group_channels(weighted, groups, grouping)

    assert sorted(labels[0].unique().tolist()) == list(range(groups))


@pytest.mark.parametrize("grouping", ["similar", "kmeans", "agglomerative"])
def test_a_single_channel_and_silent_channels_can_be_clustered(grouping: Grouping) -> None:
    assert group_channels(torch.ones(1, 1, 2, 2), 1, grouping).tolist() == [[0]]
    silent = group_channels(torch.zeros(1, 6, 2, 2), 3, grouping)

    assert silent.shape == (1, 6)
    assert silent.min() >= 0
    assert silent.max() < 3


def test_similar_groups_hear_a_faint_channel_by_its_place(generator: torch.Generator) -> None:
    corners = torch.zeros(3, 4, 4)
    corners[0, 0, 0] = corners[1, 0, 3] = corners[2, 3, 3] = 1.0
    kind = torch.arange(60) % 3
    strength = torch.logspace(-3, 3, 60)[torch.randperm(60, generator=generator)]
    weighted = (corners[kind] * strength[:, None, None])[None]

    similar = group_channels(weighted, 3, "similar")[0]
    by_distance = group_channels(weighted, 3, "kmeans")[0]

    same_kind = kind[:, None] == kind[None]
    assert torch.equal(same_kind, similar[:, None] == similar[None])
    assert not torch.equal(same_kind, by_distance[:, None] == by_distance[None])


def test_similar_groups_rest_where_every_channel_resembles_its_own_mask_most(
    generator: torch.Generator,
) -> None:
    weighted = torch.rand(2, 40, 5, 4, generator=generator, dtype=torch.float64)

    labels = group_channels(weighted, 6, "similar")

    for maps, groups in zip(weighted.flatten(2), labels, strict=True):
        sums = torch.stack([maps[groups == group].sum(0) for group in range(6)])
        likeness = torch.cosine_similarity(maps[:, None], sums[None], dim=2)  # (C, G)
        assert torch.equal(likeness.argmax(1), groups)


def test_similar_groups_do_not_depend_on_the_other_pictures(generator: torch.Generator) -> None:
    weighted = torch.randn(3, 30, 4, 4, generator=generator)

    together = group_channels(weighted, 5, "similar")

    for picture, alone in enumerate(weighted):
        assert torch.equal(group_channels(alone[None], 5, "similar")[0], together[picture])


def test_positive_evidence_leaves_out_what_speaks_against_the_class() -> None:
    weighted = torch.tensor([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]]).reshape(1, 2, 1, 3)
    config = GroupCamConfig(groups=1, percentile=None, evidence="signed")

    signed = group_masks_of(weighted, config)
    positive = group_masks_of(weighted, dataclasses.replace(config, evidence="positive"))

    assert signed.whole.flatten().tolist() == [0, 3, 0]
    assert positive.whole.flatten().tolist() == [1, 5, 3]


@pytest.mark.parametrize("groups", [0, 13])
def test_more_groups_than_channels_are_refused(groups: int) -> None:
    weighted = torch.zeros(1, 12, 3, 3)
    group_channels(weighted, 12, "contiguous")

    with pytest.raises(GroupCamError, match=f"between 1 and 12, .*; got {groups}"):
        group_channels(weighted, groups, "contiguous")


def test_group_masks_are_the_positive_part_of_the_sum() -> None:
    # Two cells, four channels; groups {0, 2} and {1, 3}.
    weighted = torch.tensor([[1.0, -2.0], [3.0, 0.0], [-0.5, 1.0], [-4.0, 2.0]])
    weighted = weighted.reshape(1, 4, 1, 2)

    masks = compute_group_masks(weighted, torch.tensor([[0, 1, 0, 1]]), 2)

    # Group 0: 1 - 0.5 = 0.5 and -2 + 1 = -1 -> 0. Group 1: 3 - 4 = -1 -> 0 and 0 + 2 = 2.
    assert masks.tolist() == [[[[0.5, 0.0]], [[0.0, 2.0]]]]


def test_denoising_keeps_what_is_above_the_masks_own_percentile() -> None:
    masks = torch.arange(12.0).reshape(1, 1, 3, 4)

    kept = denoise(masks, 70)

    # 70 % of the way through 0..11 is 7.7: 8, 9, 10 and 11 stay.
    assert kept.flatten().tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 8, 9, 10, 11]
    assert denoise(masks, None) is masks
