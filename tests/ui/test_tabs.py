"""The Compare and Sanity tabs' callbacks as Gradio calls them, with a tiny network."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from groupcam.models.pool import BackboneKey
from groupcam.saliency.methods import METHODS
from groupcam.ui import cascade
from groupcam.ui.comparison import DEFAULT_METHODS
from groupcam.ui.page import Page
from groupcam.ui.workbench import Workbench

KEY = BackboneKey("test/network")
VISITOR: Any = SimpleNamespace(session_hash="visitor")
Updates = dict[Any, Any]


@pytest.fixture
def picture_id(workbench: Workbench, picture_path: Path) -> str:
    return workbench.add_picture(picture_path)[0]


def present(page: Page, picture_id: str, **changes: Any) -> list[Any]:
    """Return what the shared controls send, four groups unless told otherwise."""
    named = {"view": page.ui.settings.view, "is_denoised": page.ui.settings.is_denoised}
    named.update(page.ui.settings.by_field)
    settings = [{"groups": 4, **changes}.get(name, one.value) for name, one in named.items()]
    choice = [KEY.name, "default", "", changes.get("layer", "features.3"), ""]
    return [picture_id, KEY, KEY.name, *choice, *settings]


def last_values(updates: Iterator[Any]) -> Updates:
    shown: Updates = {}
    for update in updates:
        if update != gr.skip():
            shown.update(update)
    return shown


def compare(page: Page, picture_id: str, axis: str, names: Any, **changes: Any) -> Updates:
    tab = page.compare
    begun = tab.begin(VISITOR, picture_id)
    chosen = [names if name == axis else [] for name in tab.chosen]
    values = [*present(page, picture_id, **changes), axis, *chosen]
    token = begun[tab.turns.token]
    return begun | last_values(tab.run(VISITOR, token, "inferno", *values))


def randomise(page: Page, picture_id: str, method: str, **changes: Any) -> Updates:
    tab = page.sanity
    begun = tab.begin(VISITOR, picture_id)
    values = present(page, picture_id, **changes)
    token = begun[tab.turns.token]
    return begun | last_values(tab.run(VISITOR, token, "inferno", method, *values))


@pytest.fixture(autouse=True)
def long_turns(page: Page) -> None:
    """In these tests all work is one turn."""
    for tab in (page.compare, page.sanity):
        tab.turns._turn_s = 60


# --- both ----------------------------------------------------------------------------------------


def test_without_a_picture_the_tabs_say_what_to_do_first(page: Page) -> None:
    for tab in (page.compare, page.sanity):
        begun = tab.begin(VISITOR, None)

        assert "Choose a picture first" in begun[tab.status]
        assert 'role="alert"' not in begun[tab.status]
        assert begun[tab.turns.token] is None


@pytest.mark.parametrize("changes", [{"groups": "abc"}, {"view": "sideways"}], ids=str)
def test_a_bad_setting_gives_a_sentence(
    page: Page, picture_id: str, changes: dict[str, Any]
) -> None:
    for tab, shown in (
        (page.compare, compare(page, picture_id, "method", list(DEFAULT_METHODS), **changes)),
        (page.sanity, randomise(page, picture_id, "grad_cam", **changes)),
    ):
        assert 'role="alert"' in shown[tab.status]
        assert "must be" in shown[tab.status]


def test_an_accident_is_logged_and_told_in_plain_words(
    page: Page,
    picture_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(page.workbench, "picture_of", explode)

    for tab, shown in (
        (page.compare, compare(page, picture_id, "method", list(DEFAULT_METHODS))),
        (page.sanity, randomise(page, picture_id, "grad_cam")),
    ):
        assert "Something went wrong" in shown[tab.status]
        assert "secret" not in shown[tab.status]
    assert "secret details" in caplog.text


def test_who_leaves_drops_both_works(page: Page, picture_id: str) -> None:
    for tab in (page.compare, page.sanity):
        tab.turns._turn_s = 0
        tab.turns.others_wait = lambda: True
    token = page.compare.begin(VISITOR, picture_id)[page.compare.turns.token]
    values = [*present(page, picture_id), "method", ["grad_cam", "centre"], [], [], []]
    list(page.compare.run(VISITOR, token, "inferno", *values))
    assert page.compare.turns._paused

    page.leave(VISITOR)

    assert not page.compare.turns._paused


# --- compare -------------------------------------------------------------------------------------


def test_a_comparison_fills_its_cards(page: Page, picture_id: str) -> None:
    tab = page.compare

    shown = compare(page, picture_id, "method", ["group_cam", "grad_cam"])

    assert "Done: 2 methods compared." in shown[tab.status]
    first, second = shown[tab.cards]["cards"]
    assert (first["state"], second["state"]) == ("done", "done")
    assert first["title"] == "Group-CAM (groups 4)"
    assert [entry.method for entry in shown[tab.entries]] == ["group_cam", "grad_cam"]
    assert (shown[tab.box]["width"], shown[tab.box]["height"]) == (40, 30)


def test_stop_ends_a_comparison(page: Page, picture_id: str) -> None:
    tab = page.compare
    token = tab.begin(VISITOR, picture_id)[tab.turns.token]
    values = [*present(page, picture_id), "method", ["group_cam", "grad_cam"], [], [], []]
    updates = tab.run(VISITOR, token, "inferno", *values)
    next(updates)

    stopped = tab.turns.stop_run(VISITOR)

    assert "Stopped." in stopped
    # A report may be on its way, so it is said once more, and nothing else is.
    assert list(updates) == [{tab.status: stopped}]


@pytest.mark.parametrize(
    ("axis", "names", "sentence"),
    [
        ("method", ["grad_cam"], "2 to 6 methods to compare; got 1"),
        ("method", "grad_cam", "must be a list of names"),
        ("method", [1, 2], "must be a list of names"),
        ("sideways", [], "What differs must be one of"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_told(
    page: Page, picture_id: str, axis: str, names: Any, sentence: str
) -> None:
    shown = compare(page, picture_id, axis, names)

    assert sentence in shown[page.compare.status]
    assert 'role="alert"' in shown[page.compare.status]
    assert page.compare.cards not in shown  # what was shown before stays


def test_a_box_reaches_every_card_and_every_time(page: Page, picture_id: str) -> None:
    tab = page.compare
    entries = compare(page, picture_id, "method", ["grad_cam", "centre"])[tab.entries]
    event: Any = SimpleNamespace(_data={"box": [0, 0, 40, 30]})

    first = tab.show_pointing(entries, event)
    second = tab.show_pointing(entries, event)

    assert [card["energy"] for card in first["cards"]] == pytest.approx([1, 1])
    assert "covers 100%" in first["text"]
    assert first["stamp"] != second["stamp"]
    cleared: Any = SimpleNamespace(_data={"box": None})
    assert tab.show_pointing(entries, cleared)["cards"] == []


def test_a_made_up_box_is_refused(page: Page) -> None:
    event: Any = SimpleNamespace(_data={"box": [1, 2, 3]})

    with pytest.raises(gr.Error, match="box must be a list of four numbers"):
        page.compare.show_pointing((), event)


def test_the_passes_are_foretold(page: Page, picture_id: str) -> None:
    tab = page.compare
    page.workbench.load(KEY)
    values = [*present(page, picture_id), "method", ["group_cam", "rise"], [], [], []]

    text = tab.foretell(*values)

    assert "Group-CAM 6, RISE 4,000" in text
    assert tab.foretell(*values[:-5], "layer", [], [], [], []) == ""
    assert tab.foretell(*values[:-5], "method", ["nothing"], [], [], []) == ""


def test_the_lists_follow_the_backbone(page: Page) -> None:
    layers, classes = page.compare.list_names(KEY)

    assert "features.3" in [value for _, value in layers.choices]
    assert len(classes.choices) == 3
    assert (layers.value, classes.value) == ([], [])


def test_every_method_can_be_chosen_and_one_list_is_seen(page: Page) -> None:
    tab = page.compare

    assert {value for _, value in tab.chosen["method"].choices} == set(METHODS)
    seen = [update.visible for update in tab.show_axis("layer")]
    assert seen == [False, True, False, False]


# --- sanity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", cascade.METHODS)
def test_a_check_ends_in_words(page: Page, picture_id: str, method: str) -> None:
    tab = page.sanity

    shown = randomise(page, picture_id, method)

    assert "gc-done" in shown[tab.status]
    assert "pass" in shown[tab.status]
    assert len(shown[tab.scrubber]["heats"]) == 1 + len(shown[tab.scrubber]["titles"]) == 4


def test_a_map_that_sees_no_network_does_not_pass(page: Page, picture_id: str) -> None:
    shown = randomise(page, picture_id, "sobel")

    assert "Sobel edges does not pass here" in shown[page.sanity.status]
    assert shown[page.sanity.scrubber]["spearman"] == [1, 1, 1]


def test_stop_ends_a_check(page: Page, picture_id: str) -> None:
    tab = page.sanity
    token = tab.begin(VISITOR, picture_id)[tab.turns.token]
    updates = tab.run(VISITOR, token, "inferno", "group_cam", *present(page, picture_id))
    next(updates)

    stopped = tab.turns.stop_run(VISITOR)

    assert "Stopped." in stopped
    # A report may be on its way, so it is said once more, and nothing else is.
    assert list(updates) == [{tab.status: stopped}]


def test_another_method_than_those_offered_is_refused(page: Page, picture_id: str) -> None:
    shown = randomise(page, picture_id, "rise")

    assert "The method must be one of group_cam" in shown[page.sanity.status]
