"""The Step by step tab's callbacks as Gradio calls them, with a tiny network."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from groupcam.language import say
from groupcam.models import target_layers
from groupcam.saliency import GroupCamConfig
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice, Finished, Run
from groupcam.ui.steps_tab import ADJUSTED

Explain = Callable[[Choice], Run]


VISITOR: Any = SimpleNamespace(session_hash="visitor")


def event(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def test_the_tab_stands_after_explain(page: Page) -> None:
    assert list(page.ui.tabs)[:2] == ["explain", "steps"]


def test_what_to_do_is_said_until_there_is_a_run(page: Page, choice: Choice) -> None:
    tab = page.steps

    first = tab.show(None, None, "inferno", None)
    waiting = tab.show(None, choice.picture_id, "inferno", None)
    gone = tab.show(choice, choice.picture_id, "inferno", None)

    assert first[tab.steps]["empty"] == say("steps.no_picture")
    assert waiting[tab.steps]["empty"] == say("steps.no_run")
    assert gone[tab.steps]["empty"] == say("steps.not_kept")


def test_the_run_of_the_explain_tab_is_shown_without_a_forward_pass(
    page: Page, choice: Choice, explain: Explain, forwards: list[int]
) -> None:
    run = explain(choice)
    forwards.clear()
    tab = page.steps

    shown = tab.show(choice, choice.picture_id, "inferno", None)

    value = shown[tab.steps]
    assert value["settings"]["groups"] == 4
    assert value["label"] == run.explanation.class_label
    again = tab.show(choice, choice.picture_id, "inferno", shown[tab.shown])
    assert again == gr.skip()
    recolored = tab.show(choice, choice.picture_id, "viridis", shown[tab.shown])
    assert recolored[tab.steps]["run"] == value["run"]
    assert recolored[tab.steps]["map"]["heat"] != value["map"]["heat"]
    assert forwards == []


def test_a_new_run_is_told_only_to_an_open_tab(
    page: Page, choice: Choice, explain: Explain
) -> None:
    explain(choice)
    tab = page.steps

    assert tab.follow(choice, choice.picture_id, "inferno", None, False) == gr.skip()
    assert "order" in tab.follow(choice, choice.picture_id, "inferno", None, True)[tab.steps]


def test_groups_are_shown_and_switched_without_a_forward_pass(
    page: Page, choice: Choice, explain: Explain, forwards: list[int]
) -> None:
    explain(choice)
    forwards.clear()
    tab = page.steps

    group = tab.show_group(choice, "inferno", event(group=2, serial=7))
    whole = tab.show_map(VISITOR, choice, "inferno", event(groups=[0, 1, 2, 3], serial=8))[tab.map]
    none = tab.show_map(VISITOR, choice, "inferno", event(groups=[], serial=9))[tab.map]

    assert (group["about"], group["group"], group["serial"]) == ("group", 2, 7)
    assert (whole["about"], whole["serial"]) == ("map", 8)
    assert whole["heat"]
    assert "Switch one on" in none["blank"]
    assert forwards == []


def test_the_curves_of_all_groups_are_the_runs_own(page: Page, choice: Choice) -> None:
    *_, finished = page.workbench.run_steps(choice)
    assert isinstance(finished, Finished)
    assert finished.run.curves is not None
    groups = [0, 1, 2, 3]
    tab = page.steps
    shown = tab.show_map(VISITOR, choice, "inferno", event(groups=groups))

    asked = event(groups=groups, serial=5)
    updates = list(tab.show_curves(VISITOR, shown[tab.turns.token], choice, asked))

    first, *_, last = [update[tab.curves] for update in updates]
    assert not first["complete"]
    assert last["complete"]
    assert (last["about"], last["serial"]) == ("curves", 5)
    for side in (last, last["whole"]):
        assert side["insertion"]["auc"] == pytest.approx(
            finished.run.curves.insertion_auc, abs=1e-6
        )
        assert side["deletion"]["auc"] == pytest.approx(finished.run.curves.deletion_auc, abs=1e-6)


def token_for(page: Page, choice: Choice, groups: list[int]) -> Any:
    """Switch groups on, and return what lets their curves be drawn."""
    shown = page.steps.show_map(VISITOR, choice, "inferno", event(groups=groups))
    return shown[page.steps.turns.token]


def test_newer_groups_end_the_curves_of_older_ones(
    page: Page, choice: Choice, explain: Explain, forwards: list[int]
) -> None:
    explain(choice)
    old = token_for(page, choice, [0])
    curves = iter(page.steps.show_curves(VISITOR, old, choice, event(groups=[0])))
    assert not next(curves)[page.steps.curves]["complete"]
    forwards.clear()

    token_for(page, choice, [1])

    assert list(curves) == [gr.skip()]
    assert len(forwards) <= 1
    again = page.steps.show_curves(VISITOR, old, choice, event(groups=[0]))
    assert list(again) == [gr.skip()]


def test_others_have_their_go_before_the_curves_of_some_groups_are_done(
    page: Page, choice: Choice, explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain(choice)
    tab = page.steps
    monkeypatch.setattr(tab.turns, "_turn_s", 0.0)
    monkeypatch.setattr(tab.turns, "others_wait", lambda: True)
    token, nothing = token_for(page, choice, [0]), event()
    *_, paused = tab.show_curves(VISITOR, token, choice, event(groups=[0], serial=3))
    assert paused[tab.turns.again]["turn"]

    monkeypatch.setattr(tab.turns, "others_wait", lambda: False)
    *_, last = tab.show_curves(VISITOR, token, choice, nothing)

    assert (last[tab.curves]["complete"], last[tab.curves]["serial"]) == (True, 3)


@pytest.mark.parametrize("token", [None, "1", 10**6, {"path": "README.md"}], ids=repr)
def test_curves_that_nobody_asked_for_are_not_drawn(
    page: Page, choice: Choice, explain: Explain, forwards: list[int], token: Any
) -> None:
    explain(choice)
    forwards.clear()

    drawn = list(page.steps.show_curves(VISITOR, token, choice, event(groups=[0])))

    assert drawn == [gr.skip()]
    assert forwards == []


@pytest.mark.parametrize("group", [None, -1, 4, True, "1"], ids=repr)
def test_a_group_that_is_not_there_is_refused(
    page: Page, choice: Choice, explain: Explain, group: Any
) -> None:
    explain(choice)

    with pytest.raises(gr.Error, match="must be one of the 4"):
        page.steps.show_group(choice, "inferno", event(group=group))


def test_a_run_that_is_gone_is_told(page: Page, choice: Choice) -> None:
    asked = (choice, "inferno", event(group=0, groups=[0]))

    with pytest.raises(gr.Error, match="no longer kept"):
        page.steps.show_group(*asked)
    with pytest.raises(gr.Error, match="no longer kept"):
        page.steps.show_map(VISITOR, *asked)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("groups", 8),
        ("grouping", "kmeans"),
        ("percentile", 70),
        ("blur_sigma_px", 12.5),
        ("merge", "raw"),
    ],
    ids=str,
)
def test_a_setting_goes_to_its_one_control(page: Page, name: str, value: Any) -> None:
    changed = page.steps.adjust(event(name=name, value=value))

    assert changed == {page.ui.settings.by_field[name]: value}
    assert name in ADJUSTED


def test_denoising_is_switched_at_its_one_control(page: Page) -> None:
    changed = page.steps.adjust(event(name="is_denoised", value=False))

    assert changed == {page.ui.settings.is_denoised: False}


def test_the_layer_goes_to_its_one_control(page: Page) -> None:
    changed = page.steps.adjust(event(name="target_layer", value="blocks.5"))

    assert changed == {page.ui.layer: "blocks.5"}
    with pytest.raises(gr.Error, match="layer"):
        page.steps.adjust(event(name="target_layer", value=["blocks.5"]))


def test_the_tab_offers_the_layers_that_can_be_explained(
    page: Page, choice: Choice, explain: Explain
) -> None:
    run = explain(choice)

    shown = page.steps.show(run.choice, choice.picture_id, "inferno", None)[page.steps.steps]

    backbone = page.workbench.load(choice.backbone)
    usable = [layer.name for layer in target_layers(backbone) if layer.usable]
    assert shown["choices"]["target_layer"] == usable
    assert shown["settings"]["target_layer"] == run.explanation.target_layer


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("precision", "bfloat16", "must be one of"),
        ("percentile", None, "must be one of"),
        ("percentile", 100, "below 100"),
        ("groups", "many", "whole number"),
        ("merge", "sideways", "merge must be one of"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused(page: Page, name: str, value: Any, words: str) -> None:
    with pytest.raises(gr.Error, match=words):
        page.steps.adjust(event(name=name, value=value))


def test_the_tab_offers_settings_at_the_values_of_the_run(
    page: Page, choice: Choice, explain: Explain
) -> None:
    config = GroupCamConfig(groups=3, percentile=None, merge="whole")
    explain(choice._replace(config=config))

    shown = page.steps.show(choice._replace(config=config), choice.picture_id, "inferno", None)

    settings = shown[page.steps.steps]["settings"]
    assert settings.pop("is_denoised") is False
    assert settings.pop("target_layer") == choice.target_layer
    assert settings == {name: getattr(config, name) for name in ADJUSTED}
