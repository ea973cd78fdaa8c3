"""Channels of the target layer become groups, and groups become masks.

Paper (arXiv:2103.13859, section 3)   here
w_k, weight of a channel              Capture.channel_weights
M_l, initial mask of a group          compute_group_masks
theta, the de-noising's percentile    denoise
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.language import say
from groupcam.saliency.config import GroupCamConfig, Grouping

MAX_ROUNDS = 20  # of moving channels between groups; rarely more than ten are needed


@dataclass(frozen=True, eq=False)
class GroupMasks:
    """The group masks of N pictures at the layer's own size, not yet scaled to [0, 1]."""

    channel_groups: Tensor  # (N, C): the group of every channel
    whole: Tensor  # (N, G, h, w), >= 0: before the de-noising
    denoised: Tensor  # (N, G, h, w), >= 0: what the picture is seen through


def group_masks_of(weighted: Tensor, config: GroupCamConfig) -> GroupMasks:
    """Return the masks that the settings give.

    Args:
        weighted: channel weight times activation, (N, C, h, w).
        config: the settings.

    Raises:
        GroupCamError: there are fewer channels than groups.
    """
    if config.evidence == "positive":
        weighted = weighted.relu()
    channel_groups = group_channels(weighted, config.groups, config.grouping)
    whole = compute_group_masks(weighted, channel_groups, config.groups)
    return GroupMasks(channel_groups, whole, denoise(whole, config.percentile))


def group_channels(weighted: Tensor, groups: int, grouping: Grouping) -> Tensor:
    """Return the group of every channel.

    Contiguous groups follow the channels' order and differ in size by at most one. The others put
    channels with similar weighted maps together: "kmeans" and "agglomerative" by the distance of
    the maps, "similar" by the angle between them, so that a faint channel joins the strong one
    that fires at the same place. When fewer than G maps differ, the groups left over stay empty.

    Args:
        weighted: channel weight times activation, (N, C, h, w).
        groups: number of groups G, 1 <= G <= C.
        grouping: how channels are put into groups.

    Returns:
        Group numbers 0..G-1, int64, (N, C).

    Raises:
        GroupCamError: groups is outside 1..C.
    """
    pictures, channels = weighted.shape[:2]
    if not 1 <= groups <= channels:
        raise GroupCamError(say("refused.too_many_groups", channels=channels, given=groups))
    if grouping == "contiguous":
        in_order = torch.arange(channels, device=weighted.device) * groups // channels
        return in_order.expand(pictures, channels)
    if grouping == "similar":
        return _group_similar(weighted.flatten(2).double(), groups)
    labels = [_cluster(maps.flatten(1), groups, grouping) for maps in weighted]
    return torch.stack(labels).to(weighted.device)


def compute_group_masks(weighted: Tensor, channel_groups: Tensor, groups: int) -> Tensor:
    """Return one mask per group: the positive part of the sum of its weighted channels.

    Args:
        weighted: channel weight times activation, (N, C, h, w).
        channel_groups: group of every channel, (N, C).
        groups: number of groups G.

    Returns:
        Masks, (N, G, h, w), >= 0, not yet scaled to [0, 1]; an empty group's mask is 0.
    """
    pictures, _, height, width = weighted.shape
    sums = weighted.new_zeros(pictures, groups, height, width)
    index = channel_groups[:, :, None, None].expand_as(weighted)
    return sums.scatter_add(1, index, weighted).relu()


def denoise(masks: Tensor, percentile: float | None) -> Tensor:
    """Return the masks with every cell that is not above the mask's own percentile set to 0.

    Args:
        masks: (N, G, h, w), >= 0; not changed.
        percentile: 0-100, interpolated linearly; None keeps every cell.

    Returns:
        Masks, (N, G, h, w).
    """
    if percentile is None:
        return masks
    threshold = masks.flatten(2).quantile(percentile / 100, dim=2)[:, :, None, None]
    return torch.where(masks > threshold, masks, 0)


def _group_similar(maps: Tensor, groups: int) -> Tensor:
    """Return groups of channels whose maps point the same way, (N, C), from maps (N, C, h * w).

    Spherical k-means (Dhillon and Modha 2001, Machine Learning 42) in which a channel counts by its
    strength: the centre of a group is the direction of its channels' sum, which is the direction of
    its mask. It begins with channels drawn by how much of them lies outside the centres so far
    (k-means++), by the same random numbers for every picture.
    """
    draws = torch.rand(groups, generator=torch.Generator().manual_seed(0), dtype=maps.dtype)
    pictures = torch.arange(len(maps), device=maps.device)
    strength = maps.norm(dim=2)  # (N, C)
    direction = maps / strength.clamp_min(torch.finfo(maps.dtype).tiny)[:, :, None]
    likeness = torch.zeros_like(strength)  # with the nearest centre
    centers: list[Tensor] = []
    for draw in draws.to(maps.device):
        outside = (strength * (1 - likeness)).clamp_min(0).cumsum(dim=1)
        chosen = (outside <= draw * outside[:, -1:]).sum(dim=1).clamp_max(maps.shape[1] - 1)
        centers.append(direction[pictures, chosen])
        likeness = torch.maximum(likeness, torch.einsum("ncd,nd->nc", direction, centers[-1]))
    center = torch.stack(centers, dim=1)  # (N, G, h * w)

    labels = torch.full(strength.shape, -1, device=maps.device)
    for _ in range(MAX_ROUNDS):
        latest = (direction @ center.transpose(1, 2)).argmax(dim=2)
        if torch.equal(latest, labels):
            break
        labels = latest
        sums = torch.zeros_like(center).scatter_add(1, labels[:, :, None].expand_as(maps), maps)
        length = sums.norm(dim=2, keepdim=True)
        center = torch.where(length > 0, sums / length, center)  # an empty group's stays
    return labels


def _cluster(maps: Tensor, groups: int, grouping: Grouping) -> Tensor:
    """Return the cluster of every channel of one picture, (C,), from its maps, (C, h * w)."""
    # Here, because the import takes seconds and the default, contiguous groups, needs none of it.
    from sklearn.cluster import AgglomerativeClustering, KMeans
    from sklearn.exceptions import ConvergenceWarning

    points = maps.double().cpu().numpy()
    with warnings.catch_warnings():
        # Channels that never fire are equal points: fewer clusters than asked for is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if grouping == "kmeans":
            # A seed of its own: the same picture gives the same groups, global state untouched.
            labels = KMeans(n_clusters=groups, n_init=1, random_state=0).fit_predict(points)
        elif groups == len(points):
            labels = range(groups)  # scikit-learn's tree numbers single leaves in another order
        else:
            labels = AgglomerativeClustering(n_clusters=groups).fit_predict(points)
    return torch.as_tensor(labels, dtype=torch.int64)
