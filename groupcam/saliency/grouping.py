"""Channels of the target layer become groups, and groups become masks.

Paper (arXiv:2103.13859, section 3)   here
w_k, weight of a channel              Capture.channel_weights
M_l, initial mask of a group          compute_group_masks
theta, the de-noising's percentile    denoise
"""

import warnings

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.saliency.config import Grouping


def group_channels(weighted: Tensor, groups: int, grouping: Grouping) -> Tensor:
    """Return the group of every channel.

    Contiguous groups follow the channels' order and differ in size by at most one. The clustered
    ones put channels with similar weighted maps together; when fewer than G maps differ, the
    groups left over stay empty.

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
        raise GroupCamError(
            f"groups must be between 1 and {channels}, the channels of the target layer; "
            f"got {groups}. Choose fewer groups."
        )
    if grouping == "contiguous":
        in_order = torch.arange(channels, device=weighted.device) * groups // channels
        return in_order.expand(pictures, channels)
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
