"""One run of Group-CAM in numbers and words, step by step, for one of its groups.

Texts are HTML: everything that a visitor or a model hub can name is escaped here.
"""

from dataclasses import dataclass
from html import escape

import torch
from torch import Tensor

from groupcam.language import say
from groupcam.render.figures import groups_by_weight
from groupcam.saliency.config import Evidence, Grouping, Merge
from groupcam.ui.runs import Run

PARTS_SHOWN = 4  # channels named in the sum of a group
TERMS_SHOWN = 3  # groups named in the sum of the map


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
    label = f"<b>{escape(explanation.class_label)}</b>"
    layer = f"<b>{escape(explanation.target_layer)}</b>"
    sizes = {"count": channels, "height": height, "width": width}
    group = told.group + 1
    return [
        say("walkthrough.one_channel", layer=layer, label=label, **sizes)
        if channels == 1
        else say("walkthrough.channels", layer=layer, label=label, **sizes),
        f"{_grouping(config.groups, channels, config.grouping)} {_summing(told, config.evidence)}",
        _denoising(run, told),
        say("walkthrough.masking", group=group),
        say("walkthrough.scoring", group=group, label=label),
        say("walkthrough.merging", how=say(f"walkthrough.merge_{config.merge}")),
    ]


def _grouping(groups: int, channels: int, grouping: Grouping) -> str:
    """Return how the channels become groups."""
    how = say(f"walkthrough.grouping_{grouping}")
    if groups == 1:
        return say("walkthrough.one_question", channels=channels, how=how)
    return say("walkthrough.questions", count=groups, channels=channels, how=how)


def _summing(told: GroupNumbers, evidence: Evidence) -> str:
    """Return how the channels of the group become its mask."""
    group, count = told.group + 1, len(told.channels)
    if count == 1:
        return say(f"walkthrough.sum_of_one_{evidence}", group=group)
    return say(f"walkthrough.sum_of_many_{evidence}", group=group, count=count)


def _denoising(run: Run, told: GroupNumbers) -> str:
    """Return what the de-noising does to the group's mask."""
    percentile = run.explanation.config.percentile
    cells = run.explanation.whole_masks[0].numel()
    if not told.channels:
        return say("walkthrough.no_channel")
    if told.peak == 0:
        return say("walkthrough.nothing_for_class")
    if told.is_dead:
        return say("walkthrough.same_everywhere")
    if percentile is None:
        return say("walkthrough.not_denoised", cells=cells)
    return say("walkthrough.denoising", percentile=percentile, kept=told.kept, cells=cells)


# --- formulas ------------------------------------------------------------------------------------


def formulas(run: Run, told: GroupNumbers) -> list[str]:
    """Return the formula of each of the six steps with the group's numbers, as HTML."""
    explanation = run.explanation
    config = explanation.config
    height, width = explanation.whole_masks.shape[1:]
    first = f"<sub>#{strongest_channels(run, 1)[0]}</sub>"
    return [
        say(
            "walkthrough.weight_formula",
            weight=f"<i>w</i>{first}",
            gradient=f"∂<i>y</i>/∂<i>A</i>{first}",
            height=height,
            width=width,
            value=f"<b>{number(_strongest_weight(run))}</b>",
        ),
        _sum_of_channels(told, is_positive=config.evidence == "positive"),
        _threshold_formula(run, told),
        _masked_formula(told),
        _score_formula(told),
        _sum_of_masks(explanation.group_weights, config.merge),
    ]


def _strongest_weight(run: Run) -> float:
    return float(run.capture.channel_weights[0, strongest_channels(run, 1)[0]])


def _sum_of_channels(told: GroupNumbers, *, is_positive: bool) -> str:
    """Return the sum behind a mask, at its strongest cell."""
    part = "<i>w</i><sub>k</sub> <i>A</i><sub>k</sub>"
    inside = f"max(0, {part})" if is_positive else part
    members = say("walkthrough.members", group=told.group + 1)
    total = f"Σ<sub>{members}</sub> {inside}"
    formula = f"{_mask_of(told)} = {total if is_positive else f'max(0, {total})'}"
    if told.peak == 0:
        return say("walkthrough.empty_formula", formula=formula, zero="<b>0</b>")
    shown = [number(value) for value in told.parts[:PARTS_SHOWN]]
    rest = told.parts[PARTS_SHOWN:]
    if rest:
        shown.append(say("walkthrough.others", value=number(sum(rest)), count=len(rest)))
    row, column = told.peak_cell
    return say(
        "walkthrough.peak_formula",
        formula=formula,
        row=row + 1,
        column=column + 1,
        sum=f"{' + '.join(shown)} = <b>{number(told.peak)}</b>",
    )


def _threshold_formula(run: Run, told: GroupNumbers) -> str:
    """Return the de-noising of one mask."""
    mask, denoised = _mask_of(told), _mask_of(told, is_denoised=True)
    if told.threshold is None:
        return f"{denoised} = {mask}"
    return say(
        "walkthrough.threshold_formula",
        denoised=denoised,
        mask=mask,
        condition=f"{mask} &gt; <i>θ</i>",
        threshold="<i>θ</i>",
        percentile=run.explanation.config.percentile,
        value=f"<b>{number(told.threshold)}</b>",
    )


def _masked_formula(told: GroupNumbers) -> str:
    """Return the masked input, and the probabilities without and with it."""
    masked = f"<i>X</i><sub>{told.group + 1}</sub>"
    formula = say(
        "walkthrough.masked_formula", masked=masked, mask=_mask_of(told, is_denoised=True)
    )
    if told.is_dead:
        return formula
    return say(
        "walkthrough.probabilities_formula",
        formula=formula,
        p="<i>p</i>",
        blurred=number(told.baseline),
        masked=masked,
        value=f"<b>{number(told.masked)}</b>",
    )


def _score_formula(told: GroupNumbers) -> str:
    """Return the score of one group."""
    score = f"<i>&alpha;</i><sub>{told.group + 1}</sub>"
    if told.is_dead:
        return say("walkthrough.unscored_formula", score=score, zero="<b>0</b>")
    gain = told.masked - told.baseline
    return f"{score} = max(0, {number(told.masked)} − {number(told.baseline)}) = " + (
        f"max(0, {number(gain)}) = <b>0</b>" if gain <= 0 else f"<b>{number(told.weight)}</b>"
    )


def _sum_of_masks(weights: Tensor, merge: Merge) -> str:
    """Return the weighted sum behind the map, its largest terms in numbers."""
    total = "Σ<sub>l</sub> <i>&alpha;</i><sub>l</sub> <i>S</i><sub>l</sub>"
    formula = f"<i>L</i> = {_scaled(total)}"
    means = f"<i>S</i><sub>l</sub> = {_merged_mask(merge)}"
    scored = int((weights > 0).sum())
    if scored == 0:
        return say(
            "walkthrough.nothing_formula",
            formula=f"{formula}; {means}",
            score="<i>&alpha;</i>",
            zero="<b>0</b>",
        )
    order = groups_by_weight(weights.numpy())[: min(TERMS_SHOWN, scored)]
    terms = [f"{number(float(weights[one]))} <i>S</i><sub>{one + 1}</sub>" for one in order]
    if scored > len(order):
        terms.append(say("walkthrough.more_terms", count=scored - len(order)))
    return f"{formula} = {_scaled(' + '.join(terms))}; {means}"


def _merged_mask(merge: Merge) -> str:
    """Return the mask as it is merged; l goes through all groups."""
    if merge == "raw":
        return "<i>M&prime;</i><sub>l</sub>"
    if merge == "normalized":
        return _scaled("<i>M&prime;</i><sub>l</sub>")
    whole = _scaled("<i>M</i><sub>l</sub>")
    if merge == "whole":
        return whole
    return f"{whole} / √Σ<sub>j</sub> {_scaled('<i>M</i><sub>j</sub>')}"


def _scaled(values: str) -> str:
    return say("walkthrough.scaled", values=values)


def _mask_of(told: GroupNumbers, *, is_denoised: bool = False) -> str:
    return f"<i>{'M&prime;' if is_denoised else 'M'}</i><sub>{told.group + 1}</sub>"
