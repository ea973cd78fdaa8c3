"""What an explanation holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from groupcam.language import say
from groupcam.saliency.config import GroupCamConfig
from groupcam.saliency.scoring import is_dead, min_max_scale, upsample_masks


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Group-CAM of one picture and one class. Tensors lie on the CPU.

    As the last value of a notebook's cell it shows itself.
    """

    saliency_map: Tensor  # (H, W), float32 in [0, 1]; zeros when blank_reason is given
    cell_masks: Tensor  # (G, h, w): de-noised group masks at the layer's own size, not scaled
    whole_masks: Tensor  # (G, h, w): the same before the de-noising
    group_weights: Tensor  # (G,): max(0, masked_probability - baseline_probability)
    masked_probability: Tensor  # (G,): class probability of the picture seen through each mask
    baseline_probability: float  # class probability of the blurred picture
    probability: float  # class probability of the picture
    logits: Tensor  # (K,)
    class_index: int
    class_label: str
    channel_groups: Tensor  # (C,): the group of every channel
    target_layer: str
    config: GroupCamConfig
    forward_passes: int  # the capture's, the blurred picture's and one for every live group
    elapsed_s: float
    blank_reason: str | None  # why the map is all zeros; None when it is not
    # The picture as the network saw it, uint8 (H, W, 3); None: it was not kept.
    picture_seen: npt.NDArray[np.uint8] | None = None

    def __repr__(self) -> str:
        """Return the main facts; the tensors would fill a screen."""
        blank = ", blank" if self.blank_reason is not None else ""
        return (
            f"Explanation({self.class_label!r}, probability={self.probability:.4f}, "
            f"{self.target_layer!r}, {len(self.group_weights)} groups, "
            f"map {tuple(self.saliency_map.shape)}{blank})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        # Drawing needs matplotlib, which nobody else should wait for.
        from groupcam.share.notebook import explanation_html

        return explanation_html(self)

    @property
    def group_masks(self) -> Tensor:
        """Return the masks as the network saw them, (G, H, W) in [0, 1]; computed at each call."""
        size = (self.saliency_map.shape[-2], self.saliency_map.shape[-1])
        return min_max_scale(upsample_masks(self.cell_masks, size))

    @property
    def is_dead_group(self) -> Tensor:
        """Return which groups have an empty mask, bool (G,)."""
        return is_dead(self.cell_masks)

    @property
    def why_blank(self) -> str:
        """Return `blank_reason` in the present language; "" where there is none."""
        if self.blank_reason is None:
            return ""
        return why_blank(
            self.is_dead_group,
            self.group_weights,
            self.class_label,
            self.baseline_probability,
            self.target_layer,
        )


@dataclass(frozen=True, eq=False)
class ExplanationBatch:
    """Group-CAM of N pictures, each field with a leading N. `batch[i]` is one Explanation."""

    saliency_map: Tensor  # (N, H, W)
    cell_masks: Tensor  # (N, G, h, w)
    whole_masks: Tensor  # (N, G, h, w)
    group_weights: Tensor  # (N, G)
    masked_probability: Tensor  # (N, G)
    baseline_probability: Tensor  # (N,)
    probability: Tensor  # (N,)
    logits: Tensor  # (N, K)
    class_index: Tensor  # (N,), int64
    class_label: tuple[str, ...]
    channel_groups: Tensor  # (N, C)
    target_layer: str
    config: GroupCamConfig
    forward_passes: Tensor  # (N,), int64
    elapsed_s: float  # of the whole batch
    blank_reason: tuple[str | None, ...]
    # The pictures as the network saw them, uint8 (N, H, W, 3); None: they were not kept.
    picture_seen: npt.NDArray[np.uint8] | None = None

    @property
    def group_masks(self) -> Tensor:
        """Return the masks as the network saw them, (N, G, H, W) in [0, 1]."""
        size = (self.saliency_map.shape[-2], self.saliency_map.shape[-1])
        return min_max_scale(upsample_masks(self.cell_masks, size))

    def __len__(self) -> int:
        """Return the number of pictures N."""
        return len(self.saliency_map)

    def __iter__(self) -> Iterator[Explanation]:
        """Go through the pictures."""
        return (self[picture] for picture in range(len(self)))

    def __getitem__(self, picture: int) -> Explanation:
        """Return the explanation of one picture; `elapsed_s` is its share of the batch's."""
        return Explanation(
            saliency_map=self.saliency_map[picture],
            cell_masks=self.cell_masks[picture],
            whole_masks=self.whole_masks[picture],
            group_weights=self.group_weights[picture],
            masked_probability=self.masked_probability[picture],
            baseline_probability=float(self.baseline_probability[picture]),
            probability=float(self.probability[picture]),
            logits=self.logits[picture],
            class_index=int(self.class_index[picture]),
            class_label=self.class_label[picture],
            channel_groups=self.channel_groups[picture],
            target_layer=self.target_layer,
            config=self.config,
            forward_passes=int(self.forward_passes[picture]),
            elapsed_s=self.elapsed_s / len(self),
            blank_reason=self.blank_reason[picture],
            picture_seen=None if self.picture_seen is None else self.picture_seen[picture],
        )


def why_blank(dead: Tensor, weights: Tensor, label: str, baseline: float, layer: str) -> str:
    """Return in the present language why a map is all zeros.

    Args:
        dead: which groups have an empty mask, bool (G,).
        weights: of the groups, (G,).
        label: name of the class.
        baseline: its probability for the blurred picture.
        layer: name of the target layer.
    """
    if dead.all():
        return say("blank.no_mask", layer=layer, label=label)
    if not weights.any():
        return say("blank.no_gain", label=label, blurred=baseline)
    return say("blank.flat")
