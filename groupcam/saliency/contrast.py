"""Why this class and not that one: two maps, of what speaks for A against B and for B against A.

Group-CAM with another objective. For the classes A and B with logits y_A and y_B

    a_k   = mean over (h, w) of d(y_A - y_B)/dA_k                 channel weights, so the masks
    b(x)  = p_A(x) + p_B(x)                                       what both have, in (0, 1]
    s(x)  = p_A(x) / b(x) = sigmoid(y_A - y_B)                    share of A, in (0, 1)
    w_g   = ReLU(s(x_g) - s(blur(x))) * b(x_g)                    weight of a mask, in [0, 1)
    S     = min-max(ReLU(sum_g w_g * mask_g))                     map for A against B, in [0, 1]

and for B against A the same with the classes exchanged: the share of B is 1 - s. The difference
of logits is that of Finer-CAM (Zhang et al. 2025, arXiv:2501.11309, at gamma = 1 and with one
reference); masks, blur and merging are those of Group-CAM (arXiv:2103.13859). What the two classes
share, an ear that any cat has, cancels in the gradient and is in neither map. The factor b is
ours: without it a mask that shows neither class weighs by the ratio of two tiny probabilities (on
assets/examples/cat_and_espresso.jpg, with the paper's settings, a cup then weighs 0.50 for tiger
cat against Egyptian cat; with it 0.01).

Costs 3 forward passes and one for every mask that is not empty, at most 2 G + 3, where one
explanation costs at most G + 2. Flaw: each map is scaled to [0, 1] on its own, so the two say
where, not which side is stronger (the shares and weights do); and where the network believes in
neither class, all weights are small and the maps mean little.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.language import ENGLISH, say, speaking
from groupcam.models import Backbone, View, resolve_target_layer
from groupcam.saliency import engine
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.config import GroupCamConfig
from groupcam.saliency.group_cam import DEFAULT_CONFIG, Progress, merged_map
from groupcam.saliency.grouping import group_masks_of
from groupcam.saliency.inputs import PictureSource, prepare_inputs
from groupcam.saliency.methods.passes import in_micro_batches
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.scoring import is_dead, masked_inputs, min_max_scale, upsample_masks
from groupcam.steps import finish, relay


@dataclass(frozen=True, eq=False)
class Side:
    """What speaks for one class against the other. Tensors lie on the CPU."""

    saliency_map: Tensor  # (H, W), float32 in [0, 1]; zeros when blank_reason is given
    cell_masks: Tensor  # (G, h, w): de-noised group masks at the layer's own size, not scaled
    group_weights: Tensor  # (G,): max(0, masked_share - baseline_share) * masked_both
    masked_share: Tensor  # (G,): share of the picture seen through each mask
    masked_both: Tensor  # (G,): p(class) + p(other class) of the picture seen through each mask
    baseline_share: float  # share of the blurred picture
    share: float  # p(class) / (p(class) + p(other class)) of the picture, in (0, 1)
    probability: float  # class probability of the picture
    class_index: int
    class_label: str
    blank_reason: str | None  # why the map is all zeros; None when it is not


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two classes of one picture held against each other."""

    first: Side  # of the class asked about
    second: Side  # of the class that it is compared with
    logits: Tensor  # (K,)
    target_layer: str
    config: GroupCamConfig
    forward_passes: int
    elapsed_s: float


def contrast(
    backbone: Backbone,
    image: PictureSource | Tensor,
    *,
    class_index: int,
    against: int,
    config: GroupCamConfig = DEFAULT_CONFIG,
    target_layer: str | None = None,
    view: View = "crop",
) -> Contrast:
    """Return what speaks for one class against another in one picture, and the reverse.

    Costs at most 2 G + 3 forward passes and one backward pass a class.

    Args:
        backbone: see `load_backbone`.
        image: as in `explain`; of a tensor, one picture (1, 3, H, W).
        class_index: the class asked about.
        against: the class that it is compared with.
        config: the settings, as in `explain`.
        target_layer: as in `explain`.
        view: as in `explain`.

    Raises:
        GroupCamError: both classes are the same, or a value is not possible for this picture,
            network or layer.
        TypeError: a value is of the wrong type.
    """
    inputs = prepare_inputs(backbone, image, view)
    return finish(
        contrast_steps(
            backbone,
            inputs,
            class_index=class_index,
            against=against,
            config=config,
            target_layer=target_layer,
        )
    )


def contrast_steps(
    backbone: Backbone,
    inputs: Tensor,
    *,
    class_index: int,
    against: int,
    config: GroupCamConfig = DEFAULT_CONFIG,
    target_layer: str | None = None,
) -> Generator[Progress, None, Contrast]:
    """Contrast step by step; closing the generator stops the work within one micro-batch.

    Args:
        backbone: see `load_backbone`.
        inputs: one normalised picture, (1, 3, H, W), on the backbone's device.
        class_index: as in `contrast`.
        against: as in `contrast`.
        config: the settings.
        target_layer: as in `explain`.

    Yields:
        Progress, after every stage and every micro-batch; without a map.

    Returns:
        Both sides.
    """
    started = time.perf_counter()
    if len(inputs) != 1:
        raise GroupCamError(
            f"A contrast must be of one picture; got {len(inputs)}. Call it once a picture."
        )
    pair = (backbone.class_index_of(class_index), backbone.class_index_of(against))
    if pair[0] == pair[1]:
        raise GroupCamError(
            "class_index and against must be two classes; got "
            f"'{backbone.class_names[pair[0]]}' ({pair[0]}) for both. Choose another class to "
            "compare with."
        )
    classes = torch.tensor(pair, device=inputs.device)
    layer = resolve_target_layer(backbone, target_layer)
    # The picture twice, once for each class. The gradient of a difference is the difference of
    # the gradients, and in the second row the classes are exchanged.
    capture = capture_layer(backbone, inputs.expand(2, -1, -1, -1), layer, classes)
    channel_weights = capture.channel_weights - capture.channel_weights.flip(0)  # (2, C)
    weighted = capture.activations * channel_weights[:, :, None, None]  # (2, C, h, w)
    masks = group_masks_of(weighted, config)
    is_live = ~is_dead(masks.denoised)  # (2, G)
    total = 3 + int(is_live.sum())
    yield Progress("capture", 2, total)

    baseline, masked = yield from _score(backbone, inputs, masks.denoised, is_live, classes, config)
    # Of log-probabilities the softmax is the share, safe however small both are.
    baseline_share = baseline.softmax(dim=-1)[:, 0]  # (2,)
    masked_share = masked.softmax(dim=-1)[..., 0]  # (2, G)
    masked_both = masked.exp().sum(dim=-1)  # (2, G)
    weights = (masked_share - baseline_share[:, None]).relu() * masked_both  # (2, G)
    size = (inputs.shape[-2], inputs.shape[-1])
    maps = merged_map(masks.denoised, masks.whole, weights, size, config.merge)
    yield Progress("merge", total, total)

    labels = [backbone.class_names[index] for index in pair]
    shares = _of_both(capture.logits[:1], classes)[0].softmax(dim=0)  # (2,)
    sides = [
        Side(
            saliency_map=maps[row].cpu(),
            cell_masks=masks.denoised[row].cpu(),
            group_weights=weights[row].cpu(),
            masked_share=masked_share[row].cpu(),
            masked_both=masked_both[row].cpu(),
            baseline_share=float(baseline_share[row]),
            share=float(shares[row]),
            probability=float(capture.probability[row]),
            class_index=pair[row],
            class_label=labels[row],
            blank_reason=_blank_reason(
                maps[row], is_live[row], weights[row], (labels[row], labels[1 - row]), layer.name
            ),
        )
        for row in range(2)
    ]
    return Contrast(
        first=sides[0],
        second=sides[1],
        logits=capture.logits[0].float().cpu(),
        target_layer=layer.name,
        config=config,
        forward_passes=total,
        elapsed_s=time.perf_counter() - started,
    )


def _score(
    backbone: Backbone,
    inputs: Tensor,
    masks: Tensor,
    is_live: Tensor,
    classes: Tensor,
    config: GroupCamConfig,
) -> Generator[Progress, None, tuple[Tensor, Tensor]]:
    """Run the masked forward passes of both sides in micro-batches.

    Args:
        backbone: the network.
        inputs: (1, 3, H, W).
        masks: de-noised group masks of both sides, (2, G, h, w), not scaled.
        is_live: which of them are run, bool (2, G).
        classes: the two classes, (2,).
        config: the settings.

    Returns:
        Log-probabilities of (the side's own class, the other one): of the blurred picture, (2, 2),
        and of the pictures seen through each side's masks, (2, G, 2). A dead mask has those of the
        blurred picture: it hides all.
    """
    size = (inputs.shape[-2], inputs.shape[-1])
    blurred = gaussian_blur(inputs, config.blur_sigma_px, config.blur_kernel_px)
    # An empty mask stands first: it hides all, which gives the blurred picture.
    run = torch.cat([torch.zeros_like(masks[0, :1]), masks[is_live]])  # (1 + M, h, w)

    def of_both(chosen: slice) -> Tensor:
        scaled = min_max_scale(upsample_masks(run[chosen], size))
        shown = masked_inputs(inputs, blurred, scaled)
        return _of_both(engine.forward(backbone, shown, config.precision), classes)

    total = 2 + len(run)
    parts = yield from relay(
        in_micro_batches(backbone, len(run), of_both),
        lambda done: Progress("score", 2 + done, total),
    )
    found = torch.cat(parts)  # (1 + M, 2)
    baseline = torch.stack([found[0], found[0].flip(0)])  # (2, 2)
    masked = baseline[:, None].repeat(1, masks.shape[1], 1)  # (2, G, 2)
    first = int(is_live[0].sum())
    masked[0, is_live[0]] = found[1 : 1 + first]
    masked[1, is_live[1]] = found[1 + first :].flip(1)
    return baseline, masked


def _of_both(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the log-probabilities of the two classes, (M, 2), from logits (M, K)."""
    return logits.float().log_softmax(dim=1)[:, classes]


def _blank_reason(
    saliency_map: Tensor, is_live: Tensor, weights: Tensor, labels: tuple[str, str], layer: str
) -> str | None:
    """Return why the map of one side is all zeros, in English, or None when it is not."""
    if saliency_map.any():
        return None
    with speaking(ENGLISH):  # a result is kept, and read by programs
        return why_blank(is_live, weights, labels, layer)


def why_blank(is_live: Tensor, weights: Tensor, labels: tuple[str, str], layer: str) -> str:
    """Return in the present language why the map of one side is all zeros.

    Args:
        is_live: which groups have a mask that is not empty, bool (G,).
        weights: of the groups, (G,).
        labels: names of the side's class and of the other one.
        layer: name of the target layer.
    """
    own, other = labels
    if not is_live.any():
        return say("contrast.no_mask", layer=layer, label=own, against=other)
    if not weights.any():
        return say("contrast.no_gain", label=own, against=other)
    return say("contrast.flat")
