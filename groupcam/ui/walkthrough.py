"""One run of Group-CAM in numbers and words, step by step, for one of its groups.

Texts are HTML: everything that a visitor or a model hub can name is escaped here.
"""

from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from groupcam.render.figures import groups_by_weight
from groupcam.saliency.config import Grouping, Merge
from groupcam.ui.runs import Run

PARTS_SHOWN = 4  # channels named in the sum of a group
TERMS_SHOWN = 3  # groups named in the sum of the map

GROUPINGS: dict[Grouping, str] = {
    "contiguous": "neighbours in the layer's own order go together, in equal shares",
    "similar": "those that light up at the same places go together, faint ones with strong ones",
    "kmeans": "those whose maps are alike go together (k-means)",
    "agglomerative": "the two most alike are joined again and again",
}
MERGES: dict[Merge, str] = {
    "raw": "each de-noised mask counts as it is",
    "normalized": "each de-noised mask is first scaled to 0..1",
    "whole": "each mask is taken as it was before the de-noising and scaled to 0..1",
    "balanced": (
        "each mask is taken as it was before the de-noising, scaled to 0..1, and counts less "
        "where many masks overlap"
    ),
}
# S is the mask as it is merged; l goes through all groups.
MERGED_MASKS: dict[Merge, str] = {
    "raw": "<i>M&prime;</i><sub>l</sub>",
    "normalized": "scale(<i>M&prime;</i><sub>l</sub>)",
    "whole": "scale(<i>M</i><sub>l</sub>)",
    "balanced": "scale(<i>M</i><sub>l</sub>) / √Σ<sub>j</sub> scale(<i>M</i><sub>j</sub>)",
}


@dataclass(frozen=True)
class GroupNumbers:
    """What the formulas of all steps say of one group."""

    group: int
    rank: int  # 0: no group weighs more
    channels: tuple[int, ...]  # those of the group, by what they add at the strongest cell
    parts: tuple[float, ...]  # what each of them adds there
    peak_cell: tuple[int, int]  # (row, column) of the mask's strongest cell, from 0
    peak: float  # the mask's value there, before the de-noising
    threshold: float | None  # None: no de-noising
    kept: int  # cells that the de-noising leaves
    is_dead: bool
    masked: float  # p(masked)
    baseline: float  # p(blurred)
    weight: float  # alpha
    share: float  # of the weights of all groups, 0 when all are 0


def numbers_of(run: Run, group: int) -> GroupNumbers:
    """Return the numbers of one group, 0..G-1."""
    explanation = run.explanation
    whole = explanation.whole_masks[group]  # (h, w)
    place = int(whole.argmax())
    row, column = divmod(place, whole.shape[1])
    members = (explanation.channel_groups == group).nonzero()[:, 0]
    at_peak = contributions(run)[members, row, column]
    order = at_peak.argsort(descending=True, stable=True)
    percentile = explanation.config.percentile
    threshold = None if percentile is None else float(whole.flatten().quantile(percentile / 100))
    weights = explanation.group_weights
    total = float(weights.sum())
    return GroupNumbers(
        group=group,
        rank=groups_by_weight(weights.numpy()).index(group),
        channels=tuple(members[order].tolist()),
        parts=tuple(at_peak[order].tolist()),
        peak_cell=(row, column),
        peak=float(whole[row, column]),
        threshold=threshold,
        kept=whole.numel() if threshold is None else int((whole > threshold).sum()),
        is_dead=bool(explanation.is_dead_group[group]),
        masked=float(explanation.masked_probability[group]),
        baseline=explanation.baseline_probability,
        weight=float(weights[group]),
        share=float(weights[group]) / total if total else 0.0,
    )


def contributions(run: Run) -> Tensor:
    """Return what every channel brings into its group's mask, (C, h, w)."""
    weighted = run.capture.weighted_activations[0].cpu()
    return weighted.relu() if run.explanation.config.evidence == "positive" else weighted


def strongest_channels(run: Run, count: int) -> list[int]:
    """Return the channels with the largest absolute weight, largest first."""
    size = run.capture.channel_weights[0].abs().cpu()
    return [int(one) for one in size.topk(min(count, len(size))).indices]


def sampled(values: Tensor, most: int) -> list[float]:
    """Return values, largest first, at most so many, evenly taken."""
    ordered = values.flatten().sort(descending=True).values
    if len(ordered) > most:
        ordered = ordered[torch.linspace(0, len(ordered) - 1, most).round().long()]
    return [float(f"{value:.4g}") for value in ordered.tolist()]


def number(value: float) -> str:
    """Return a number as people read it, as HTML."""
    size = abs(value)
    sign = "−" if value < 0 else ""
    if size == 0:
        return "0"
    if 0.001 <= size < 10_000:
        return f"{sign}{size:.4f}" if size < 1 else f"{sign}{size:.4g}"
    digits, exponent = f"{size:.1e}".split("e")
    return f"{sign}{digits} · 10<sup>{str(int(exponent)).replace('-', '−')}</sup>"


# --- words ---------------------------------------------------------------------------------------


def sentences(run: Run, told: GroupNumbers) -> list[str]:
    """Return what each of the six steps does, in a sentence, as HTML."""
    explanation = run.explanation
    config = explanation.config
    channels, height, width = run.capture.activations.shape[1:]
    label, layer = escape(explanation.class_label), escape(explanation.target_layer)
    name = f"group {told.group + 1}"
    evidence = (
        "leaving out what speaks against the class"
        if config.evidence == "positive"
        else "taking off what speaks against the class"
    )
    members = f"{len(told.channels)} channel" + ("" if len(told.channels) == 1 else "s")
    return [
        f"Layer <b>{layer}</b> turns the picture into {_counted(channels, 'channel')}, each a map "
        f"of {height} × {width} cells that lights up where the channel finds its pattern; its "
        f"weight tells how much more of that would raise the score of <b>{label}</b>.",
        f"To ask {_counted(config.groups, 'question')} instead of {channels}, the channels are "
        f"put into groups ({GROUPINGS[config.grouping]}); the {members} of {name}, each times its "
        f"weight and {evidence}, add up to the group's mask.",
        _denoising(run, told),
        f"The mask of {name} is enlarged to the picture: where it is bright the network sees the "
        "picture, elsewhere only a blur, and it is asked again.",
        f"The score of {name} is what its mask lets the probability of <b>{label}</b> gain over "
        "the blurred picture; a group that gains nothing gets 0.",
        "All masks are added up, each as strong as its score, and the sum, scaled to 0..1, is the "
        f"map: {MERGES[config.merge]}.",
    ]


def _denoising(run: Run, told: GroupNumbers) -> str:
    """Return what the de-noising does to the group's mask."""
    percentile = run.explanation.config.percentile
    cells = run.explanation.whole_masks[0].numel()
    if not told.channels:
        return "No channel fell into this group, so its mask is empty and it is never scored."
    if told.peak == 0:
        return (
            "The channels of this group hold nothing that speaks for the class, so its mask is "
            "empty and it is never scored."
        )
    if told.is_dead:
        return "This mask is the same in every cell, so it hides nothing and is never scored."
    if percentile is None:
        return f"De-noising is switched off, so all {cells} cells of the mask stay."
    return (
        f"Faint cells are noise: those that are not above percentile {percentile:g} of the mask "
        f"become 0, which leaves {told.kept} of {cells}."
    )


def formulas(run: Run, told: GroupNumbers) -> list[str]:
    """Return the formula of each of the six steps with the group's numbers, as HTML."""
    explanation = run.explanation
    config = explanation.config
    group = f"<sub>{told.group + 1}</sub>"
    height, width = explanation.whole_masks.shape[1:]
    first = strongest_channels(run, 1)[0]
    weight = number(float(run.capture.channel_weights[0, first]))
    gain = told.masked - told.baseline
    return [
        f"<i>w</i><sub>#{first}</sub> = mean of ∂<i>y</i>/∂<i>A</i><sub>#{first}</sub> over "
        f"{height} × {width} cells = <b>{weight}</b>",
        _sum_of_channels(told, is_positive=config.evidence == "positive"),
        _threshold_formula(run, told),
        f"<i>X</i>{group} = <i>M&prime;</i>{group} · picture + (1 − <i>M&prime;</i>{group}) · blur"
        + (
            ""
            if told.is_dead
            else f"; <i>p</i>(blurred) = {number(told.baseline)}, "
            f"<i>p</i>(<i>X</i>{group}) = <b>{number(told.masked)}</b>"
        ),
        f"<i>&alpha;</i>{group} = <b>0</b>, because an empty mask is not scored"
        if told.is_dead
        else f"<i>&alpha;</i>{group} = max(0, {number(told.masked)} − {number(told.baseline)}) = "
        + (f"max(0, {number(gain)}) = <b>0</b>" if gain <= 0 else f"<b>{number(told.weight)}</b>"),
        _sum_of_masks(explanation.group_weights, config.merge),
    ]


def _sum_of_channels(told: GroupNumbers, *, is_positive: bool) -> str:
    """Return the sum behind a mask, at its strongest cell."""
    group = f"<sub>{told.group + 1}</sub>"
    part = "<i>w</i><sub>k</sub> <i>A</i><sub>k</sub>"
    inside = f"max(0, {part})" if is_positive else part
    total = f"Σ<sub>k in group {told.group + 1}</sub> {inside}"
    formula = f"<i>M</i>{group} = {total if is_positive else f'max(0, {total})'}"
    if told.peak == 0:
        return f"{formula} = <b>0</b> in every cell"
    shown = [number(value) for value in told.parts[:PARTS_SHOWN]]
    rest = told.parts[PARTS_SHOWN:]
    if rest:
        shown.append(f"{number(sum(rest))} (the other {len(rest)})")
    row, column = told.peak_cell
    return (
        f"{formula}; in its strongest cell (row {row + 1}, column {column + 1}): "
        f"{' + '.join(shown)} = <b>{number(told.peak)}</b>"
    )


def _threshold_formula(run: Run, told: GroupNumbers) -> str:
    """Return the de-noising of one mask."""
    group = f"<sub>{told.group + 1}</sub>"
    if told.threshold is None:
        return f"<i>M&prime;</i>{group} = <i>M</i>{group}"
    return (
        f"<i>M&prime;</i>{group} = <i>M</i>{group} where <i>M</i>{group} &gt; <i>θ</i>, else 0; "
        f"<i>θ</i> = percentile {run.explanation.config.percentile:g} of <i>M</i>{group} = "
        f"<b>{number(told.threshold)}</b>"
    )


def _sum_of_masks(weights: Tensor, merge: Merge) -> str:
    """Return the weighted sum behind the map, its largest terms in numbers."""
    formula = "<i>L</i> = scale(Σ<sub>l</sub> <i>&alpha;</i><sub>l</sub> <i>S</i><sub>l</sub>)"
    means = f"<i>S</i><sub>l</sub> = {MERGED_MASKS[merge]}"
    scored = int((weights > 0).sum())
    if scored == 0:
        return f"{formula}; {means}; every <i>&alpha;</i> is <b>0</b>"
    order = groups_by_weight(weights.numpy())[: min(TERMS_SHOWN, scored)]
    terms = [f"{number(float(weights[one]))} <i>S</i><sub>{one + 1}</sub>" for one in order]
    if scored > len(order):
        terms.append(f"… ({scored - len(order)} more)")
    return f"{formula} = scale({' + '.join(terms)}); {means}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
