"""Why a map is blank, or says little: what one run shows, in sentences with its numbers.

A finding is told only where its rule below holds, so a run without findings has nothing unusual.
Where the map is blank exactly one finding says why; it stands first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

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


def percent(probability: float) -> str:
    """Return a probability in percent, as people say it; nothing is rounded to none or to all."""
    if 0 < probability < 1e-6:
        return "less than 0.0001%"
    if 0 < probability < 0.0001:
        return f"{100 * probability:.2g}%"
    if 0.999 < probability < 1:
        return "more than 99.9%"
    return f"{probability:.1%}" if probability >= 0.1 or probability == 0 else f"{probability:.2%}"


def _why_blank(explanation: Explanation, channel_weights: Tensor | None) -> Finding | None:
    if explanation.saliency_map.any():
        return None
    label, layer = explanation.class_label, explanation.target_layer
    if explanation.is_dead_group.all():
        return _why_all_dead(explanation, channel_weights)
    if not explanation.group_weights.any():
        masked = explanation.masked_probability[~explanation.is_dead_group]
        return Finding(
            "no_gain",
            "blank",
            f"No mask raises the probability of '{label}': through {_best_of(len(masked))} it is "
            f"{percent(float(masked.max()))}, no more than the "
            f"{percent(explanation.baseline_probability)} of the blurred picture.",
            "Explain another class, blur more strongly, or choose another layer.",
        )
    return Finding(
        "flat_sum",
        "blank",
        f"At '{layer}' the weighted masks add up to the same value everywhere, so no place stands "
        "out.",
        "Choose another group count or another layer.",
    )


def _why_all_dead(explanation: Explanation, channel_weights: Tensor | None) -> Finding:
    label, layer = explanation.class_label, explanation.target_layer
    if channel_weights is not None and not channel_weights.any():
        return Finding(
            "no_gradient",
            "blank",
            f"Nothing at '{layer}' moves the score of '{label}': the weight (mean gradient) of "
            f"{_every(len(channel_weights), 'channel')} 0.",
            "Choose another layer.",
        )
    whole = explanation.whole_masks
    if not whole.any():
        return Finding(
            "nothing_for_class",
            "blank",
            f"At '{layer}' nothing speaks for '{label}': {_every(len(whole), 'group mask')} empty, "
            "as what the channels see in this picture does not raise its score.",
            "Explain another class, or choose another layer.",
        )
    height, width = whole.shape[1:]
    percentile = explanation.config.percentile
    cause, advice = "", "Choose another layer or another class."
    if percentile is not None:
        cause = f" after the de-noising at percentile {percentile:g}"
        advice = "Choose a lower percentile, or none; or another layer."
    return Finding(
        "flat_masks",
        "blank",
        f"At '{layer}' {_every(len(whole), 'group mask')} the same in all {height} × {width} "
        f"cells{cause}, which shows no place in particular.",
        advice,
    )


def _weights(caveat: str | None) -> Finding | None:
    if caveat is None:
        return None
    return Finding("weights", "caution", caveat, "Choose pretrained weights or another backbone.")


def _other_class(explanation: Explanation, class_names: Sequence[str]) -> Finding | None:
    probabilities = explanation.logits.softmax(dim=0)
    top = int(probabilities.argmax())
    own = float(probabilities[explanation.class_index])
    if float(probabilities[top]) <= own:
        return None
    rank = int((probabilities > own).sum()) + 1
    return Finding(
        "other_class",
        "caution",
        f"The network does not see '{explanation.class_label}' here first: with {percent(own)} it "
        f"is number {rank:,} of {len(probabilities):,} classes. First is '{class_names[top]}' with "
        f"{percent(float(probabilities[top]))}.",
        f"Explain '{class_names[top]}'.",
    )


def _sharp_as_blurred(explanation: Explanation) -> Finding | None:
    sharp, blurred = explanation.probability, explanation.baseline_probability
    if blurred < SHARP_AS_BLURRED * sharp:
        return None
    text = (
        f"Even blurred, the picture has {percent(blurred)} for '{explanation.class_label}'; sharp "
        f"it has {percent(sharp)}. Masks can gain little by showing parts of it sharply."
    )
    return Finding(
        "sharp_as_blurred", "caution", text, "Blur more strongly, or explain another class."
    )


def _small_gains(explanation: Explanation) -> Finding | None:
    gain = float(explanation.group_weights.max())
    if not 0 < gain < SMALL_GAIN:
        return None
    return Finding(
        "small_gains",
        "caution",
        f"The gains are small: the best mask lifts '{explanation.class_label}' from "
        f"{percent(explanation.baseline_probability)} to "
        f"{percent(explanation.baseline_probability + gain)}. The map's brightest colour stands "
        "for its strongest place, however weak that is.",
        "Explain a class that the network sees, or use fewer groups, whose masks show more each.",
    )


def _few_cells(explanation: Explanation) -> Finding | None:
    height, width = explanation.cell_masks.shape[1:]
    if height * width > FEW_CELLS or not explanation.saliency_map.any():
        return None
    return Finding(
        "few_cells",
        "caution",
        f"'{explanation.target_layer}' has only {height} × {width} cells, so the map cannot be "
        "finer than that.",
        "Choose an earlier layer or a larger input size.",
    )


def _one_group(explanation: Explanation) -> Finding | None:
    weights = explanation.group_weights
    total = float(weights.sum())
    if len(weights) < FEWEST_GROUPS or total <= 0:
        return None
    share, group = float(weights.max()) / total, int(weights.argmax())
    if share < ONE_GROUP:
        return None
    return Finding(
        "one_group",
        "note",
        f"Group {group + 1} alone holds {share:.0%} of the weights of all {len(weights)} groups: "
        "the map is almost only its mask.",
        "Use more groups to see what it is made of.",
    )


def _dead_groups(explanation: Explanation) -> Finding | None:
    is_dead = explanation.is_dead_group
    dead = int(is_dead.sum())
    if dead < MANY_DEAD * len(is_dead) or dead in (0, len(is_dead)):
        return None
    return Finding(
        "dead_groups",
        "note",
        f"{dead} of {len(is_dead)} group masks are empty or the same everywhere, so they were not "
        "tried and weigh 0.",
        "Use fewer groups.",
    )


def _every(count: int, name: str) -> str:
    """Return the subject of a sentence with its verb."""
    return f"the only {name} is" if count == 1 else f"each of the {count} {name}s is"


def _best_of(count: int) -> str:
    return "the only one that was tried" if count == 1 else f"the best of {count}"
