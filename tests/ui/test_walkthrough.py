"""The steps' numbers, words and pictures are those of the explanation, with a tiny network."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from groupcam.render.heatmap import heatmap
from groupcam.saliency import GroupCamConfig
from groupcam.saliency.subset import map_of_groups
from groupcam.ui.runs import Choice, Run
from groupcam.ui.views import data_uri
from groupcam.ui.walkthrough import formulas, number, numbers_of, sampled, sentences
from groupcam.ui.walkthrough_views import group_view, overview, switched

Explain = Callable[[Choice], Run]

SETTINGS = {
    "default": GroupCamConfig(groups=4),
    "signed": GroupCamConfig(groups=3, evidence="signed", grouping="contiguous"),
    "not de-noised": GroupCamConfig(groups=4, percentile=None, merge="raw"),
    "one group": GroupCamConfig(groups=1, merge="normalized"),
    "a group a channel": GroupCamConfig(groups=12, merge="whole"),
}


@pytest.fixture(params=list(SETTINGS.values()), ids=list(SETTINGS))
def run(request: pytest.FixtureRequest, explain: Explain, choice: Choice) -> Run:
    return explain(choice._replace(config=request.param))


@pytest.fixture
def default_run(explain: Explain, choice: Choice) -> Run:
    return explain(choice)


def without_weights(run: Run) -> Run:
    """Return the run as if no mask had raised the probability of the class."""
    explanation = run.explanation
    return replace(
        run,
        explanation=replace(
            explanation,
            group_weights=torch.zeros_like(explanation.group_weights),
            saliency_map=torch.zeros_like(explanation.saliency_map),
            masked_probability=torch.full_like(explanation.masked_probability, 0.01),
            baseline_probability=0.02,
            blank_reason="No group mask brings it above the blur.",
        ),
    )


def with_dead_group(run: Run, group: int) -> Run:
    """Return the run as if the channels of a group held nothing for the class."""
    explanation = run.explanation
    masks = {name: getattr(explanation, name).clone() for name in ("cell_masks", "whole_masks")}
    weights, masked = explanation.group_weights.clone(), explanation.masked_probability.clone()
    for values in (*masks.values(), weights):
        values[group] = 0
    masked[group] = explanation.baseline_probability
    changed = replace(explanation, **masks, group_weights=weights, masked_probability=masked)
    return replace(run, explanation=changed)


def shown_text(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)


def pixels(uri: str) -> Any:
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


# --- numbers -------------------------------------------------------------------------------------


def test_numbers_are_the_explanations(run: Run) -> None:
    explanation = run.explanation

    for group in range(explanation.config.groups):
        told = numbers_of(run, group)

        assert told.weight == float(explanation.group_weights[group])
        assert told.masked == float(explanation.masked_probability[group])
        assert told.baseline == explanation.baseline_probability
        assert told.weight == pytest.approx(max(0.0, told.masked - told.baseline), abs=1e-7)
        assert told.peak == float(explanation.whole_masks[group].max())
        assert told.is_dead == bool(explanation.is_dead_group[group])
        members = (explanation.channel_groups == group).nonzero()[:, 0].tolist()
        assert sorted(told.channels) == members


def test_the_channels_of_a_group_add_up_to_its_mask(run: Run) -> None:
    for group in range(run.explanation.config.groups):
        told = numbers_of(run, group)

        assert max(0.0, sum(told.parts)) == pytest.approx(told.peak, rel=1e-4, abs=1e-7)
        assert list(told.parts) == sorted(told.parts, reverse=True)


def test_the_threshold_leaves_the_cells_that_the_denoised_mask_has(run: Run) -> None:
    explanation = run.explanation

    for group in range(explanation.config.groups):
        told = numbers_of(run, group)
        kept = explanation.cell_masks[group]

        if explanation.config.percentile is None:
            assert told.threshold is None
            assert told.kept == kept.numel()
        else:
            assert told.threshold is not None
            assert told.kept == int((kept > 0).sum())
            assert bool((explanation.whole_masks[group][kept > 0] > told.threshold).all())
            assert bool((explanation.whole_masks[group][kept == 0] <= told.threshold).all())


def test_ranks_and_shares_go_by_weight(run: Run) -> None:
    told = [numbers_of(run, group) for group in range(run.explanation.config.groups)]

    by_rank = sorted(told, key=lambda one: one.rank)

    assert [one.rank for one in by_rank] == list(range(len(told)))
    assert [one.weight for one in by_rank] == sorted((one.weight for one in told), reverse=True)
    assert sum(one.share for one in told) == pytest.approx(1 if by_rank[0].weight else 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.2500"),
        (-0.25, "−0.2500"),
        (12.345, "12.35"),
        (0.00017, "1.7 · 10<sup>−4</sup>"),
        (-123456, "−1.2 · 10<sup>5</sup>"),
    ],
    ids=str,
)
def test_numbers_read_well(value: float, text: str) -> None:
    assert number(value) == text


def test_a_curve_of_many_cells_keeps_its_ends() -> None:
    values = torch.arange(1000.0)

    points = sampled(values, 10)

    assert len(points) == 10
    assert points[0] == 999
    assert points[-1] == 0
    assert points == sorted(points, reverse=True)


# --- words ---------------------------------------------------------------------------------------


def test_the_formulas_hold_the_numbers_of_the_run(run: Run) -> None:
    explanation = run.explanation
    weight = run.capture.channel_weights[0].abs()

    for group in range(explanation.config.groups):
        told = numbers_of(run, group)
        first, mask, denoised, _, gain, merged = formulas(run, told)

        strongest = int(weight.argmax())
        assert f"#{strongest}" in first
        assert number(float(run.capture.channel_weights[0, strongest])) in first
        if told.peak:
            assert f"<b>{number(told.peak)}</b>" in mask
        if told.threshold is not None:
            assert f"<b>{number(told.threshold)}</b>" in denoised
        assert f"<b>{number(told.weight)}</b>" in gain
        if not told.is_dead:
            assert number(told.masked) in gain
        heaviest = int(explanation.group_weights.argmax())
        assert f"<i>S</i><sub>{heaviest + 1}</sub>" in merged


def test_every_step_has_a_sentence_of_its_own(run: Run) -> None:
    told = numbers_of(run, 0)

    said = [shown_text(one) for one in sentences(run, told)]

    assert len(set(said)) == 6
    assert run.explanation.target_layer in said[0]
    assert all(one.endswith(".") for one in said)


def test_names_of_others_are_escaped(default_run: Run) -> None:
    explanation = replace(
        default_run.explanation, class_label="<img src=x>", target_layer="<b>layer"
    )
    run = replace(default_run, explanation=explanation)

    said = sentences(run, numbers_of(run, 0))

    assert "<img" not in "".join(said)
    assert "&lt;img src=x&gt;" in said[0]
    assert "&lt;b&gt;layer" in said[0]


# --- dead groups and blank maps ------------------------------------------------------------------


def test_a_dead_group_is_told_as_one(default_run: Run) -> None:
    run = with_dead_group(default_run, 2)

    told = numbers_of(run, 2)

    assert told.is_dead
    assert told.kept == 0
    assert "never scored" in sentences(run, told)[2]
    assert "not scored" in formulas(run, told)[4]
    view = group_view(run, 2, "inferno")
    assert view["dead"]
    assert pixels(view["denoised"]).std(axis=(0, 1)).max() == 0
    value = overview(run, "inferno")
    assert value["dead"][value["order"].index(2)]


def test_an_empty_group_has_no_channels_to_show(default_run: Run) -> None:
    run = with_dead_group(default_run, 1)
    groups = run.explanation.channel_groups.clone()
    groups[groups == 1] = 0
    run = replace(run, explanation=replace(run.explanation, channel_groups=groups))

    view = group_view(run, 1, "inferno")

    assert view["members"] == []
    assert view["memberCount"] == 0
    assert "No channel" in view["say"][2]


def test_a_blank_map_says_why(default_run: Run) -> None:
    run = without_weights(default_run)

    value = overview(run, "inferno")

    assert value["map"]["heat"] == ""
    assert value["map"]["blank"] == run.explanation.why_blank != ""
    assert value["terms"] == {"more": 0, "shown": []}
    assert "every <i>&alpha;</i> is <b>0</b>" in value["detail"]["formula"][5]
    assert "<b>0</b>" in value["detail"]["formula"][4]


# --- what is drawn -------------------------------------------------------------------------------


def test_the_overview_begins_with_the_heaviest_group(run: Run) -> None:
    weights = run.explanation.group_weights

    value = overview(run, "inferno")

    assert value["order"][0] == value["detail"]["group"] == int(weights.argmax())
    assert sorted(value["order"]) == list(range(len(weights)))
    assert value["alphas"] == pytest.approx(weights[value["order"]].tolist(), rel=1e-3)
    assert sum(value["sizes"]) == len(run.explanation.channel_groups)


def test_tiles_of_the_sheet_are_the_masks(default_run: Run) -> None:
    value = overview(default_run, "inferno")
    sheet, sprite = pixels(value["sprite"]["sheet"]), value["sprite"]
    height, width = sprite["tileH"], sprite["tileW"]

    for place, group in enumerate(value["order"]):
        mask = default_run.explanation.cell_masks[group].numpy()
        row, column = divmod(place, sprite["columns"])
        tile = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]

        assert tile.shape == mask.shape
        span = mask.max() - mask.min()
        assert np.abs(tile / 255 - (mask - mask.min()) / span).max() < 0.003


def test_pictures_stay_small(explain: Explain, choice: Choice) -> None:
    run = explain(choice._replace(config=GroupCamConfig(groups=12)))

    value = overview(run, "inferno")

    assert len(str(value)) < 300_000
    assert pixels(value["picture"]).shape == (32, 32, 3)


# --- groups on and off ---------------------------------------------------------------------------


def test_switching_shows_the_map_of_the_groups_that_are_on(run: Run) -> None:
    groups = list(range(0, run.explanation.config.groups, 2))
    expected, reason = map_of_groups(run.explanation, groups)

    answer = switched(run, groups, "inferno")

    assert answer["blank"] == (reason or "")
    if reason is None:
        assert answer["heat"] == data_uri(heatmap(expected.numpy(), "inferno"))
    else:
        assert answer["heat"] == ""


def test_all_groups_on_is_the_overviews_map(default_run: Run) -> None:
    value = overview(default_run, "inferno")

    assert switched(default_run, [3, 1, 0, 2], "inferno") == value["map"]


@pytest.mark.parametrize(
    ("groups", "words"),
    [([], "No group is switched on"), ([99], "must be between"), (["1"], "whole numbers")],
    ids=str,
)
def test_what_cannot_be_shown_is_told(default_run: Run, groups: list[Any], words: str) -> None:
    answer = switched(default_run, groups, "inferno")

    assert words in answer["blank"]
    assert answer["heat"] == ""
