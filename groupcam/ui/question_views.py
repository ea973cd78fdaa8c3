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
from groupcam.models.preprocessing import inner_part
from groupcam.render.figures import groups_by_weight
from groupcam.render.heatmap import masked_tile
from groupcam.saliency.contrast import Contrast, Side
from groupcam.saliency.description import describe
from groupcam.saliency.diagnosis import Finding, Severity, percent
from groupcam.saliency.scoring import min_max_scale, upsample_masks
from groupcam.ui import views
from groupcam.ui.comparison_views import box_of, heat_uri
from groupcam.ui.runs import Run, Shown

PICTURE_SIDE_PX = 640
TILE_PX = 112
TILES = 3  # groups shown of a side
BELIEVED = 0.05  # of probability: with less for both classes together the maps say little

MARKS: dict[Severity, str] = {"blank": "Blank", "caution": "Careful", "note": "Note"}


# --- why is the map blank or weak? ---------------------------------------------------------------


def findings(run: Run, found: Sequence[Finding]) -> str:
    """Return what was found about a run, or that nothing was, as HTML."""
    about = f'<p class="gc-quiet">{escape(views.caption(run))}</p>'
    items = "".join(
        f'<li class="gc-finding gc-finding-{finding.severity}"><b>{MARKS[finding.severity]}</b>'
        f"<span>{escape(finding.text)}{_advice(finding)}</span></li>"
        for finding in found
    )
    told = "" if run.explanation.blank_reason else f"<p>{escape(_strength(run))}</p>"
    return f'{about}{told}<ul class="gc-findings">{items}</ul>' if items else f"{about}{told}"


def nothing_found(text: str) -> str:
    """Return what stands while there is no run to look at."""
    return f'<p class="gc-quiet">{escape(text)}</p>'


def _advice(finding: Finding) -> str:
    return f" <em>What to try: {escape(finding.advice)}</em>" if finding.advice else ""


def _strength(run: Run) -> str:
    """Return where the map is strong and how much its groups gain, in two sentences."""
    explanation = run.explanation
    weights = explanation.group_weights
    helpful, groups = int((weights > 0).sum()), len(weights)
    best = int(weights.argmax())
    seen = describe(inner_part(explanation.saliency_map, run.inner))
    return (
        f"The map is not blank: {seen}. {helpful} of {groups} group masks raise the probability of "
        f"'{explanation.class_label}', the best one from "
        f"{percent(explanation.baseline_probability)} to "
        f"{percent(float(explanation.masked_probability[best]))}."
    )


# --- why this class and not that one? ------------------------------------------------------------


def pair(first: tuple[str, float], second: tuple[str, float]) -> str:
    """Return which two classes, each with its probability, are to be compared, as HTML."""
    told = [f"<b>{escape(name)}</b> ({percent(share)})" for name, share in (first, second)]
    return f'<p class="gc-quiet">To be compared: {told[0]} with {told[1]}.</p>'


def contrast(shown: Shown, found: Contrast, color_map: str) -> dict[str, Any]:
    """Return what assets/contrast.js draws: two maps, their words and their strongest groups."""
    height, width = shown.picture.rgb.shape[:2]
    sides = (found.first, found.second)
    is_all_seen = shown.box == (0, 0, height, width)
    return {
        "picture": views.data_uri(downscale(shown.picture.rgb, PICTURE_SIDE_PX)),
        "aspect": width / height,
        "box": box_of(shown),
        "caption": (
            f"{shown.choice.backbone.text} · {found.target_layer} · {found.config.groups} groups · "
            f"blur {found.config.blur_sigma_px:g} px"
        ),
        "verdict": verdict(found),
        "sides": [
            _side(shown, side, other, color_map)
            for side, other in zip(sides, reversed(sides), strict=True)
        ],
        "note": " ".join(
            [
                "A map shows where its class is told from the other; what both have in common is "
                "in neither. Each is scaled on its own: they say where, not which class is "
                "stronger.",
                *([] if is_all_seen else ["The network sees the bright part of the picture."]),
                "The score of a group is how much its mask raises the share, times what the two "
                "classes then have together.",
            ]
        ),
    }


def verdict(found: Contrast) -> str:
    """Return how the network decides between the two, in one or two sentences."""
    first, second = found.first, found.second
    text = (
        f"The network gives '{first.class_label}' {percent(first.probability)} and "
        f"'{second.class_label}' {percent(second.probability)}: of what the two have together, "
        f"{percent(first.share)} is for '{first.class_label}'."
    )
    if first.probability + second.probability < BELIEVED:
        text += " That is little: the network believes in neither, so the maps mean little."
    return text


def sentences(side: Side, other: Side, seen_map: Tensor) -> str:
    """Return what the map and the best group of one side say; the map is the seen part, (H, W)."""
    if side.blank_reason is not None:
        return side.blank_reason
    group = groups_by_weight(side.group_weights.numpy())[0]
    return (
        f"For '{side.class_label}' against '{other.class_label}': {describe(seen_map)}. Through "
        f"group {group + 1} alone its share of the two is "
        f"{percent(float(side.masked_share[group]))}; the blurred picture gives it "
        f"{percent(side.baseline_share)}."
    )


def _side(shown: Shown, side: Side, other: Side, color_map: str) -> dict[str, Any]:
    """Return one side of a contrast."""
    seen_map = inner_part(side.saliency_map, shown.inner)
    is_blank = side.blank_reason is not None
    where = "blank" if is_blank else describe(seen_map)
    return {
        "label": side.class_label,
        "against": other.class_label,
        "probability": percent(side.probability),
        "heat": "" if is_blank else heat_uri(shown, side.saliency_map, color_map),
        "alt": f"Map of what speaks for {side.class_label} against {other.class_label}: {where}",
        "say": sentences(side, other, seen_map),
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
            "name": f"Group {group + 1}",
            "score": f"score {_score(float(side.group_weights[group]))}",
            "share": f"share {_short(percent(float(side.masked_share[group])))}",
            "alt": f"Mask of group {group + 1}: {describe(mask)}",
        }
        for group, mask in zip(chosen, masks, strict=True)
    ]


def _score(weight: float) -> str:
    """Return a score to three decimals; a smaller one is not shown as none."""
    return f"{weight:.3f}" if weight >= 0.0005 else "< 0.001"


def _short(text: str) -> str:
    """Return a share as it fits under a tile."""
    return text.replace("less than ", "< ").replace("more than ", "> ")
