"""Why a map is blank, or says little: what one run shows, in sentences with its numbers.

The sentences are in the language that is spoken when they are asked for.
A finding is told only where its rule below holds, so a run without findings has nothing unusual.
Where the map is blank exactly one finding says why; it stands first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from groupcam.language import say
from groupcam.saliency.result import Explanation

Severity = Literal["blank", "caution", "note"]
"""Why there is no map; why it may mislead; what else is worth knowing."""

Kind = Literal[
    "no_gradient",
    "nothing_for_class",
    "flat_masks",
    "no_gain",
    "flat_sum",
    "weights",
    "other_class",
    "sharp_as_blurred",
    "small_gains",
    "few_cells",
    "one_group",
    "dead_groups",
]

FEW_CELLS = 16  # 4 x 4: places that are a quarter of the picture wide
SHARP_AS_BLURRED = 0.8  # p(blurred) / p(picture)
SMALL_GAIN = 0.01  # of probability
ONE_GROUP = 0.6  # of all weights
MANY_DEAD = 0.25  # of all groups
FEWEST_GROUPS = 4  # with fewer, one group holds most of the weights by nature


@dataclass(frozen=True)
class Finding:
    """One thing that a run shows."""

    kind: Kind
    severity: Severity
    text: str  # what is so, with the numbers that show it
    advice: str  # what to try; "" where nothing need be done


def diagnose(
    explanation: Explanation,
    class_names: Sequence[str],
    *,
    channel_weights: Tensor | None = None,
    caveat: str | None = None,
) -> tuple[Finding, ...]:
    """Return what makes the map of a run blank or weak, the weightiest first; no forward pass.

    Args:
        explanation: of one picture.
        class_names: the network's, (K,).
        channel_weights: the mean gradient of every channel, (C,), as in `Capture`; None: not
            known, and a layer without gradient is then told as one where nothing speaks for the
            class.
        caveat: why no map of this network explains much, as `Backbone.caveat` tells it.
    """
    found = [
        _why_blank(explanation, channel_weights),
        _weights(caveat),
        _other_class(explanation, class_names),
        _sharp_as_blurred(explanation),
        _small_gains(explanation),
        _few_cells(explanation),
        _one_group(explanation),
        _dead_groups(explanation),
    ]
    return tuple(finding for finding in found if finding is not None)


def percent(probability: float, *, is_short: bool = False) -> str:
    """Return a probability in percent, as people say it; nothing is rounded to none or to all.

    Args:
        probability: 0..1.
        is_short: a sign stands in the place of "less than" and "more than".
    """
    if 0 < probability < 1e-6:
        return "< 0.0001%" if is_short else say("diagnosis.less_than", share="0.0001%")
    if 0 < probability < 0.0001:
        return f"{100 * probability:.2g}%"
    if 0.999 < probability < 1:
        return "> 99.9%" if is_short else say("diagnosis.more_than", share="99.9%")
    return f"{probability:.1%}" if probability >= 0.1 or probability == 0 else f"{probability:.2%}"


def _why_blank(explanation: Explanation, channel_weights: Tensor | None) -> Finding | None:
    if explanation.saliency_map.any():
        return None
    label, layer = explanation.class_label, explanation.target_layer
    if explanation.is_dead_group.all():
        return _why_all_dead(explanation, channel_weights)
    if not explanation.group_weights.any():
        masked = explanation.masked_probability[~explanation.is_dead_group]
        name = "no_gain_of_one" if len(masked) == 1 else "no_gain_of_many"
        text = say(
            f"diagnosis.{name}",
            label=label,
            count=len(masked),
            best=percent(float(masked.max())),
            blurred=percent(explanation.baseline_probability),
        )
        return Finding("no_gain", "blank", text, say("diagnosis.no_gain_advice"))
    text = say("diagnosis.flat_sum", layer=layer)
    return Finding("flat_sum", "blank", text, say("diagnosis.flat_sum_advice"))


def _why_all_dead(explanation: Explanation, channel_weights: Tensor | None) -> Finding:
    named = {"label": explanation.class_label, "layer": explanation.target_layer}
    if channel_weights is not None and not channel_weights.any():
        count = len(channel_weights)
        name = "no_gradient_of_one" if count == 1 else "no_gradient_of_many"
        text = say(f"diagnosis.{name}", count=count, **named)
        return Finding("no_gradient", "blank", text, say("diagnosis.no_gradient_advice"))
    whole = explanation.whole_masks
    if not whole.any():
        name = "nothing_in_one" if len(whole) == 1 else "nothing_in_many"
        text = say(f"diagnosis.{name}", count=len(whole), **named)
        return Finding("nothing_for_class", "blank", text, say("diagnosis.nothing_advice"))
    height, width = whole.shape[1:]
    percentile = explanation.config.percentile
    kind = "flat" if percentile is None else "flattened"
    which = "one" if len(whole) == 1 else "many"
    text = say(
        f"diagnosis.{kind}_{which}",
        layer=explanation.target_layer,
        count=len(whole),
        height=height,
        width=width,
        percentile=percentile,
    )
    return Finding("flat_masks", "blank", text, say(f"diagnosis.{kind}_advice"))


def _weights(caveat: str | None) -> Finding | None:
    if caveat is None:
        return None
    return Finding("weights", "caution", caveat, say("diagnosis.weights_advice"))


def _other_class(explanation: Explanation, class_names: Sequence[str]) -> Finding | None:
    probabilities = explanation.logits.softmax(dim=0)
    top = int(probabilities.argmax())
    own = float(probabilities[explanation.class_index])
    if float(probabilities[top]) <= own:
        return None
    text = say(
        "diagnosis.other_class",
        label=explanation.class_label,
        share=percent(own),
        rank=int((probabilities > own).sum()) + 1,
        classes=len(probabilities),
        top=class_names[top],
        top_share=percent(float(probabilities[top])),
    )
    advice = say("diagnosis.other_class_advice", top=class_names[top])
    return Finding("other_class", "caution", text, advice)


def _sharp_as_blurred(explanation: Explanation) -> Finding | None:
    sharp, blurred = explanation.probability, explanation.baseline_probability
    if blurred < SHARP_AS_BLURRED * sharp:
        return None
    text = say(
        "diagnosis.sharp_as_blurred",
        label=explanation.class_label,
        blurred=percent(blurred),
        sharp=percent(sharp),
    )
    advice = say("diagnosis.sharp_as_blurred_advice")
    return Finding("sharp_as_blurred", "caution", text, advice)


def _small_gains(explanation: Explanation) -> Finding | None:
    gain = float(explanation.group_weights.max())
    if not 0 < gain < SMALL_GAIN:
        return None
    text = say(
        "diagnosis.small_gains",
        label=explanation.class_label,
        blurred=percent(explanation.baseline_probability),
        best=percent(explanation.baseline_probability + gain),
    )
    return Finding("small_gains", "caution", text, say("diagnosis.small_gains_advice"))


def _few_cells(explanation: Explanation) -> Finding | None:
    height, width = explanation.cell_masks.shape[1:]
    if height * width > FEW_CELLS or not explanation.saliency_map.any():
        return None
    layer = explanation.target_layer
    text = say("diagnosis.few_cells", layer=layer, height=height, width=width)
    return Finding("few_cells", "caution", text, say("diagnosis.few_cells_advice"))


def _one_group(explanation: Explanation) -> Finding | None:
    weights = explanation.group_weights
    total = float(weights.sum())
    if len(weights) < FEWEST_GROUPS or total <= 0:
        return None
    share, group = float(weights.max()) / total, int(weights.argmax())
    if share < ONE_GROUP:
        return None
    text = say("diagnosis.one_group", group=group + 1, share=share, groups=len(weights))
    return Finding("one_group", "note", text, say("diagnosis.one_group_advice"))


def _dead_groups(explanation: Explanation) -> Finding | None:
    is_dead = explanation.is_dead_group
    dead = int(is_dead.sum())
    if dead < MANY_DEAD * len(is_dead) or dead in (0, len(is_dead)):
        return None
    text = say("diagnosis.dead_groups", dead=dead, groups=len(is_dead))
    return Finding("dead_groups", "note", text, say("diagnosis.dead_groups_advice"))
