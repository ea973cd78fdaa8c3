"""What the Questions tab shows: findings as HTML, and two classes held against each other.

Everything that a visitor or a model hub can name (classes, files, layers) is escaped here or is
set as text by assets/contrast.js.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from torch import Tensor

from groupcam.images import downscale
from groupcam.language import say
from groupcam.models.preprocessing import inner_part
from groupcam.render.figures import groups_by_weight
from groupcam.render.heatmap import masked_tile
from groupcam.saliency.contrast import Contrast, Side, why_blank
from groupcam.saliency.description import describe
from groupcam.saliency.diagnosis import Finding, percent
from groupcam.saliency.scoring import is_dead, min_max_scale, upsample_masks
from groupcam.ui import views
from groupcam.ui.comparison_views import box_of, heat_uri
from groupcam.ui.runs import Run, Shown

PICTURE_SIDE_PX = 640
TILE_PX = 112
TILES = 3  # groups shown of a side
BELIEVED = 0.05  # of probability: with less for both classes together the maps say little


# --- why is the map blank or weak? ---------------------------------------------------------------


def findings(run: Run, found: Sequence[Finding]) -> str:
    """Return what was found about a run, or that nothing was, as HTML."""
    about = f'<p class="gc-quiet">{escape(views.caption(run))}</p>'
    items = "".join(
        f'<li class="gc-finding gc-finding-{finding.severity}"><b>{_mark(finding)}</b>'
        f"<span>{escape(finding.text)}{_advice(finding)}</span></li>"
        for finding in found
    )
    told = "" if run.explanation.blank_reason else f"<p>{escape(_strength(run))}</p>"
    return f'{about}{told}<ul class="gc-findings">{items}</ul>' if items else f"{about}{told}"


def nothing_found(text: str) -> str:
    """Return what stands while there is no run to look at."""
    return f'<p class="gc-quiet">{escape(text)}</p>'


def _mark(finding: Finding) -> str:
    return escape(say(f"questions.{finding.severity}"))


def _advice(finding: Finding) -> str:
    if not finding.advice:
        return ""
    text = say("questions.what_to_try", advice=finding.advice)
    return f" <em>{escape(text)}</em>"


def _strength(run: Run) -> str:
    """Return where the map is strong and how much its groups gain, in two sentences."""
    explanation = run.explanation
    weights = explanation.group_weights
    helpful, groups = int((weights > 0).sum()), len(weights)
    best = int(weights.argmax())
    seen = describe(inner_part(explanation.saliency_map, run.inner))
    return say(
        "questions.strength",
        seen=seen,
        helpful=helpful,
        groups=groups,
        label=explanation.class_label,
        blurred=percent(explanation.baseline_probability),
        best=percent(float(explanation.masked_probability[best])),
    )


# --- why this class and not that one? ------------------------------------------------------------


def pair(first: tuple[str, float], second: tuple[str, float]) -> str:
    """Return which two classes, each with its probability, are to be compared, as HTML."""
    told = [f"<b>{escape(name)}</b> ({percent(share)})" for name, share in (first, second)]
    text = say("questions.pair", first=told[0], second=told[1])
    return f'<p class="gc-quiet">{text}</p>'


def contrast(shown: Shown, found: Contrast, color_map: str) -> dict[str, Any]:
    """Return what assets/contrast.js draws: two maps, their words and their strongest groups."""
    height, width = shown.picture.rgb.shape[:2]
    sides = (found.first, found.second)
    is_all_seen = shown.box == (0, 0, height, width)
    return {
        "picture": views.data_uri(downscale(shown.picture.rgb, PICTURE_SIDE_PX)),
        "aspect": width / height,
        "box": box_of(shown),
        "caption": say(
            "contrast.caption",
            backbone=shown.choice.backbone.text,
            layer=found.target_layer,
            groups=found.config.groups,
            sigma=found.config.blur_sigma_px,
        ),
        "verdict": verdict(found),
        "sides": [
            _side(shown, side, other, found.target_layer, color_map)
            for side, other in zip(sides, reversed(sides), strict=True)
        ],
        "note": " ".join(
            [
                say("contrast.maps_note"),
                *([] if is_all_seen else [say("contrast.seen_note")]),
                say("contrast.score_note"),
            ]
        ),
    }


def verdict(found: Contrast) -> str:
    """Return how the network decides between the two, in one or two sentences."""
    first, second = found.first, found.second
    text = say(
        "contrast.verdict",
        first=first.class_label,
        first_probability=percent(first.probability),
        second=second.class_label,
        second_probability=percent(second.probability),
        share=percent(first.share),
    )
    if first.probability + second.probability < BELIEVED:
        return f"{text} " + say("contrast.verdict_is_weak")
    return text


def sentences(side: Side, other: Side, seen_map: Tensor, layer: str) -> str:
    """Return what the map and the best group of one side say.

    Args:
        side: the one that is told of.
        other: what it is compared with.
        seen_map: the part of the side's map that lies on the picture, (H, W).
        layer: name of the target layer.
    """
    if side.blank_reason is not None:
        labels = (side.class_label, other.class_label)
        return why_blank(~is_dead(side.cell_masks), side.group_weights, labels, layer)
    group = groups_by_weight(side.group_weights.numpy())[0]
    return say(
        "contrast.side",
        label=side.class_label,
        against=other.class_label,
        seen=describe(seen_map),
        group=group + 1,
        share=percent(float(side.masked_share[group])),
        blurred=percent(side.baseline_share),
    )


def _side(shown: Shown, side: Side, other: Side, layer: str, color_map: str) -> dict[str, Any]:
    """Return one side of a contrast."""
    seen_map = inner_part(side.saliency_map, shown.inner)
    is_blank = side.blank_reason is not None
    where = describe(seen_map)
    return {
        "label": side.class_label,
        "against": other.class_label,
        "probability": percent(side.probability),
        "heat": "" if is_blank else heat_uri(shown, side.saliency_map, color_map),
        "alt": say("contrast.map", label=side.class_label, against=other.class_label, words=where),
        "say": sentences(side, other, seen_map, layer),
        "isBlank": is_blank,
        "tiles": _tiles(shown, side),
    }


def _tiles(shown: Shown, side: Side) -> list[dict[str, Any]]:
    """Return the groups that speak most for a side; those without a weight are left out."""
    order = groups_by_weight(side.group_weights.numpy())[:TILES]
    chosen = [group for group in order if float(side.group_weights[group]) > 0]
    size = (side.saliency_map.shape[-2], side.saliency_map.shape[-1])
    masks = inner_part(min_max_scale(upsample_masks(side.cell_masks[chosen], size)), shown.inner)
    top, left, bottom, right = shown.box
    seen = downscale(np.ascontiguousarray(shown.picture.rgb[top:bottom, left:right]), TILE_PX)
    return [
        {
            "picture": views.data_uri(masked_tile(seen, mask.numpy())),
            "name": say("contrast.group", group=group + 1),
            "score": say("contrast.score", score=_score(float(side.group_weights[group]))),
            "share": say("contrast.share", share=_short_share(side, group)),
            "alt": say("contrast.mask", group=group + 1, words=describe(mask)),
        }
        for group, mask in zip(chosen, masks, strict=True)
    ]


def _score(weight: float) -> str:
    """Return a score to three decimals; a smaller one is not shown as none."""
    return f"{weight:.3f}" if weight >= 0.0005 else "< 0.001"


def _short_share(side: Side, group: int) -> str:
    """Return the share that a group alone gives a side, as it fits under a tile."""
    return percent(float(side.masked_share[group]), is_short=True)
