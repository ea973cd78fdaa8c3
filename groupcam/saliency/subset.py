"""The map of some groups only: what it would be if the others had never been scored.

Merging comes after all forward passes, so a group is switched off without running any.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from groupcam.errors import GroupCamError, shown
from groupcam.language import say
from groupcam.saliency.group_cam import merged_map
from groupcam.saliency.result import Explanation


def map_of_groups(explanation: Explanation, groups: Iterable[int]) -> tuple[Tensor, str | None]:
    """Return the saliency map of the groups that are switched on, without any forward pass.

    The map is scaled to [0, 1] on its own: it tells where these groups lie, not how much they add
    beside the others (their weights do). With all groups on it is the explanation's own map.

    Args:
        explanation: not changed.
        groups: indices of the groups that are on, 0..G-1; naming one twice changes nothing.

    Returns:
        The map, (H, W) in [0, 1], and why it is all zeros, in the present language, or None when
        it is not.

    Raises:
        GroupCamError: there is no such group.
        TypeError: an index is not a whole number.
    """
    weights = explanation.group_weights
    chosen = sorted(_checked(groups, len(weights)))
    size = (explanation.saliency_map.shape[-2], explanation.saliency_map.shape[-1])
    is_on = torch.zeros(len(weights), dtype=torch.bool)
    is_on[chosen] = True
    weights = torch.where(is_on, weights, 0)
    saliency_map = merged_map(
        explanation.cell_masks[None],
        torch.where(is_on[:, None, None], explanation.whole_masks, 0)[None],
        weights[None],
        size,
        explanation.config.merge,
    )[0]
    if saliency_map.any():
        return saliency_map, None
    if explanation.blank_reason is not None:
        return saliency_map, explanation.why_blank
    if not chosen:
        return saliency_map, say("subset.none_on")
    if not weights.any():
        label = explanation.class_label
        if len(chosen) == 1:
            return saliency_map, say("subset.one_has_no_gain", group=chosen[0] + 1, label=label)
        numbers = ", ".join(str(group + 1) for group in chosen)
        return saliency_map, say("subset.none_has_gain", groups=numbers, label=label)
    return saliency_map, say("subset.flat")


def _checked(groups: Iterable[int], count: int) -> set[int]:
    """Return the groups' indices, or raise."""
    chosen = set()
    for group in groups:
        if not isinstance(group, int) or isinstance(group, bool):
            raise TypeError(f"groups must be whole numbers; got {shown(group)}.")
        if not 0 <= group < count:
            raise GroupCamError(
                f"groups must be between 0 and {count - 1}; got {group}. Name other groups."
            )
        chosen.add(group)
    return chosen
