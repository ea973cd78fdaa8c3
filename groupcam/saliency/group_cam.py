"""Group-CAM: split -> de-noise -> transform -> score -> merge.

Zhang, Rao, Yang: Group-CAM: Group Score-Weighted Visual Explanations for Deep Convolutional
Networks, arXiv:2103.13859.

Paper, section 3                          here
I, I~ (picture, blurred picture)          inputs, blurred
M_l -> M'_l (group masks, scaled)         cell_masks -> group_masks
alpha_l (gain of the class probability)   group_weights
L (the map)                               saliency_map

Unlike the authors' code: G need not divide C, any number of pictures goes at once, and a group
whose mask is empty weighs 0 and costs no forward pass instead of making the map NaN.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, overload

import torch
from torch import Tensor

from groupcam.language import ENGLISH, speaking
from groupcam.models import Backbone, View, resolve_target_layer
from groupcam.saliency.capture import Capture, capture_layer
from groupcam.saliency.config import GroupCamConfig, Merge
from groupcam.saliency.grouping import group_masks_of
from groupcam.saliency.inputs import ClassIndices, PictureSource, prepare_inputs, resolve_classes
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.result import Explanation, ExplanationBatch, why_blank
from groupcam.saliency.scoring import Scores, is_dead, min_max_scale, score_masks, upsample_masks
from groupcam.steps import finish, relay

DEFAULT_CONFIG = GroupCamConfig()

Stage = Literal["capture", "score", "merge"]


@dataclass(frozen=True)
class Progress:
    """How far an explanation is, counted in forward passes."""

    stage: Stage
    done: int
    total: int
    # What the groups scored so far give, (N, H, W) on the CPU; computed when it is asked for.
    saliency_map: Callable[[], Tensor] | None = field(default=None, compare=False)


@overload
def explain(
    backbone: Backbone,
    image: Tensor,
    config: GroupCamConfig = ...,
    target_layer: str | None = ...,
    class_index: ClassIndices | None = ...,
) -> ExplanationBatch: ...


@overload
def explain(
    backbone: Backbone,
    image: PictureSource,
    config: GroupCamConfig = ...,
    target_layer: str | None = ...,
    class_index: int | None = ...,
    *,
    view: View = ...,
) -> Explanation: ...


def explain(
    backbone: Backbone,
    image: PictureSource | Tensor,
    config: GroupCamConfig = DEFAULT_CONFIG,
    target_layer: str | None = None,
    class_index: ClassIndices | None = None,
    *,
    view: View = "crop",
) -> Explanation | ExplanationBatch:
    """Return where the network looks for a class, and what each group of channels adds.

    Costs one forward pass, one backward pass down to the target layer, one forward pass of the
    blurred picture and one for every group whose mask is not empty. The network, its modes and
    gradients and torch's random state are as found afterwards, on errors too.

    Args:
        backbone: see `load_backbone`.
        image: a picture (PIL, file, bytes, uint8 array (H, W, 3)), or normalised pictures as a
            float tensor (N, 3, H, W), whose result has a leading N in every field.
        config: the settings.
        target_layer: name of a module that gives a 2D map; None takes the backbone's default.
        class_index: the class to explain, for a tensor also one a picture; None takes the top
            class of each picture.
        view: the model's own crop, or the whole picture: stretched to the input ("whole"), or
            with a border around it ("fit"). Tensors are taken as they are.

    Raises:
        GroupCamError: a value is not possible for this picture, network or layer.
        TypeError: a value is of the wrong type.
    """
    inputs = prepare_inputs(backbone, image, view)
    classes = resolve_classes(backbone, class_index, len(inputs))
    batch = finish(explain_steps(backbone, inputs, config, target_layer, classes))
    return batch if isinstance(image, Tensor) else batch[0]


def explain_steps(
    backbone: Backbone,
    inputs: Tensor,
    config: GroupCamConfig = DEFAULT_CONFIG,
    target_layer: str | None = None,
    class_index: Tensor | None = None,
    *,
    capture: Capture | None = None,
) -> Generator[Progress, None, ExplanationBatch]:
    """Explain step by step; closing the generator stops the work within one micro-batch.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        config: the settings.
        target_layer: as in `explain`.
        class_index: the class of each picture, (N,), or None for the top one.
        capture: an earlier capture of the same backbone, inputs, layer and class, to be reused.

    Yields:
        Progress, after every stage and every micro-batch.

    Returns:
        The explanation of all N pictures.
    """
    started = time.perf_counter()
    if capture is None:
        layer = resolve_target_layer(backbone, target_layer)
        capture = capture_layer(backbone, inputs, layer, class_index)

    masks = group_masks_of(capture.weighted_activations, config)
    dead = is_dead(masks.denoised)
    total = len(inputs) + len(inputs) + int((~dead).sum())  # captures, blurred, masked
    yield Progress("capture", len(inputs), total)

    blurred = gaussian_blur(inputs, config.blur_sigma_px, config.blur_kernel_px)
    size = (inputs.shape[-2], inputs.shape[-1])

    def map_of(part: Scores) -> Tensor:
        return merged_map(masks.denoised, masks.whole, _gains(part), size, config.merge, part.spans)

    scoring = score_masks(
        backbone, inputs, blurred, masks.denoised, capture.class_index, config.precision
    )
    scores = yield from relay(
        scoring,
        lambda part: Progress("score", len(inputs) + part.done, total, lambda: map_of(part).cpu()),
    )
    weights = _gains(scores)  # (N, G)
    saliency_map = map_of(scores)
    yield Progress("merge", total, total)
    labels = tuple(backbone.class_names[index] for index in capture.class_index.tolist())
    return ExplanationBatch(
        saliency_map=saliency_map.cpu(),
        cell_masks=masks.denoised.cpu(),
        whole_masks=masks.whole.cpu(),
        group_weights=weights.cpu(),
        masked_probability=scores.masked.cpu(),
        baseline_probability=scores.baseline.cpu(),
        probability=capture.probability.cpu(),
        logits=capture.logits.float().cpu(),
        class_index=capture.class_index.cpu(),
        class_label=labels,
        channel_groups=masks.channel_groups.cpu(),
        target_layer=capture.target_layer.name,
        config=config,
        forward_passes=(2 + (~dead).sum(dim=1)).cpu(),
        elapsed_s=time.perf_counter() - started,
        picture_seen=backbone.preprocessing.to_rgb(capture.inputs),
        blank_reason=tuple(
            _blank_reason(*of_picture, capture.target_layer.name)
            for of_picture in zip(saliency_map, dead, weights, labels, scores.baseline, strict=True)
        ),
    )


def _gains(scores: Scores) -> Tensor:
    """Return the weight of every group, (N, G): by how much its mask raises the probability."""
    return (scores.masked - scores.baseline[:, None]).relu()


def merged_map(
    masks: Tensor,
    whole_masks: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    merge: Merge,
    spans: Tensor | None = None,
) -> Tensor:
    """Return the map that masks and weights give, (N, H, W) in [0, 1].

    Args:
        masks: de-noised group masks at the layer's own size, (N, G, h, w), not scaled.
        whole_masks: the same before the de-noising.
        weights: (N, G), >= 0.
        size: (H, W) of the result.
        merge: see `GroupCamConfig`.
        spans: max - min of each upsampled de-noised mask, (N, G), 1 where it is flat; None: they
            are computed where the merge needs them.
    """
    if merge in ("whole", "balanced"):
        return merge_masks(whole_to_merge(whole_masks, merge), weights, size)
    if merge == "normalized":
        if spans is None:
            low, high = upsample_masks(masks, size).flatten(-2).aminmax(dim=-1)
            spans = torch.where(high > low, high - low, 1)
        weights = weights / spans
    return merge_masks(masks, weights, size)


def whole_to_merge(whole_masks: Tensor, merge: Merge) -> Tensor:
    """Return the masks that the merges without de-noising sum up, (N, G, h, w).

    "whole" scales each to [0, 1]. "balanced" then divides by the root of how much all masks
    together show of a place: half-way between their weighted sum, which favours places that many
    masks show, and their weighted mean (as in RISE, arXiv:1806.07421), which favours places that
    one strong mask shows.

    Args:
        whole_masks: group masks before the de-noising, (N, G, h, w), >= 0, not scaled.
        merge: "whole" or "balanced".
    """
    scaled = min_max_scale(whole_masks)
    if merge == "whole":
        return scaled
    shown = scaled.sum(dim=1, keepdim=True)  # (N, 1, h, w)
    return scaled / torch.where(shown > 0, shown, 1).sqrt()


def merge_masks(masks: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the weighted sum of the group masks, scaled to [0, 1].

    The sum is taken before the upsampling, which is linear. A mask that is to be scaled to [0, 1]
    first has its weight divided by its span; what its minimum adds is the same everywhere, and the
    last scaling takes it away.

    Args:
        masks: group masks at the layer's own size, (N, G, h, w).
        weights: (N, G), >= 0.
        size: (H, W) of the result.

    Returns:
        (N, H, W).
    """
    merged = torch.einsum("ng,nghw->nhw", weights, masks)
    return min_max_scale(upsample_masks(merged, size).relu())


def _blank_reason(
    saliency_map: Tensor, dead: Tensor, weights: Tensor, label: str, baseline: Tensor, layer: str
) -> str | None:
    """Return why the map of one picture is all zeros, in English, or None when it is not."""
    if saliency_map.any():
        return None
    with speaking(ENGLISH):  # a result is kept, and read by programs
        return why_blank(dead, weights, label, float(baseline), layer)
