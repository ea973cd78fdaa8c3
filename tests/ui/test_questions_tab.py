"""The Questions tab's callbacks as Gradio calls them, with a tiny network."""

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.language import say
from groupcam.models import Backbone
from groupcam.models.pool import BackboneKey
from groupcam.saliency.diagnosis import percent
from groupcam.ui.page import Page
from groupcam.ui.questions_tab import QuestionsTab, pair_of
from groupcam.ui.runs import Choice, Run
from tests.support import head_of

KEY = BackboneKey("test/network")
VISITOR: Any = SimpleNamespace(session_hash="visitor")
NAMES = ["class 0", "class 1", "class 2"]
Explain = Callable[[Choice], Run]
Updates = dict[Any, Any]


@pytest.fixture
def tab(page: Page) -> QuestionsTab:
    page.questions.turns._turn_s = 60  # in these tests all work is one turn
    return page.questions


def present(page: Page, choice: Choice, **changes: Any) -> list[Any]:
    """Return what the shared controls send, four groups unless told otherwise."""
    named = {"view": page.ui.settings.view, "is_denoised": page.ui.settings.is_denoised}
    named.update(page.ui.settings.by_field)
    settings = [{"groups": 4, **changes}.get(name, one.value) for name, one in named.items()]
    chosen = [KEY.name, "default", "", "features.3", changes.get("class_name", "")]
    return [choice.picture_id, KEY, KEY.name, *chosen, *settings]


def last_values(updates: Iterator[Any]) -> Updates:
    shown: Updates = {}
    for update in updates:
        if update != gr.skip():
            shown.update(update)
    return shown


def compare(page: Page, choice: Choice, first: Any = "", second: Any = "", **changes: Any) -> Any:
    tab = page.questions
    token = tab.begin(VISITOR, choice.picture_id)[tab.turns.token]
    values = present(page, choice, **changes)
    return last_values(tab.run(VISITOR, token, "inferno", first, second, *values))


def ranked(run: Run) -> list[str]:
    """The names of all classes, the most probable first."""
    return [NAMES[index] for index in run.explanation.logits.argsort(descending=True).tolist()]


# --- two classes ---------------------------------------------------------------------------------


def test_the_default_is_the_explained_class_against_the_most_probable_other(
    page: Page, tab: QuestionsTab, choice: Choice, explain: Explain
) -> None:
    top, second, last = ranked(explain(choice))

    of_top = compare(page, choice)[tab.contrast]["sides"]
    of_last = compare(page, choice, class_name=last)[tab.contrast]["sides"]
    chosen = compare(page, choice, second, last)[tab.contrast]["sides"]

    assert [side["label"] for side in of_top] == [top, second]
    assert [side["label"] for side in of_last] == [last, top]
    assert [side["label"] for side in chosen] == [second, last]


def test_a_comparison_ends_with_two_maps_and_their_words(
    page: Page, tab: QuestionsTab, choice: Choice, explain: Explain
) -> None:
    run = explain(choice)
    top, second, _ = ranked(run)

    shown = compare(page, choice)

    assert "gc-done" in shown[tab.status]
    value = shown[tab.contrast]
    assert f"{percent(run.explanation.probability)} and '{second}'" in value["verdict"]
    assert value["aspect"] == pytest.approx(40 / 30)
    for side, (name, other) in zip(value["sides"], ((top, second), (second, top)), strict=True):
        assert (side["label"], side["against"]) == (name, other)
        assert 0 <= len(side["tiles"]) <= 3
        if side["isBlank"]:
            assert side["heat"] == ""
            assert name in side["say"]
            assert side["alt"].endswith(": blank")
        else:
            assert side["heat"].startswith("data:image/jpeg")
            assert side["say"].startswith(f"For '{name}' against '{other}': str")
            assert f"Through group {side['tiles'][0]['name'].split()[1]} alone" in side["say"]
            assert re.fullmatch(r"score (0\.\d{3}|< 0\.001)", side["tiles"][0]["score"])
    assert any(not side["isBlank"] for side in value["sides"])


def test_a_blank_side_says_why(
    page: Page, tab: QuestionsTab, choice: Choice, tiny_cnn: Backbone
) -> None:
    # What class 1 has, class 0 has too and more: nothing speaks for 1 against 0.
    weight = head_of(tiny_cnn).weight.data
    weight[0], weight[1] = weight[0].abs() + 1, 0

    first, second = compare(page, choice, "class 1", "class 0")[tab.contrast]["sides"]

    assert (first["isBlank"], first["heat"], first["tiles"]) == (True, "", [])
    assert "gives 'class 1' a larger share against 'class 0'" in first["say"]
    assert not second["isBlank"]


def test_progress_is_told_and_turns_are_taken(
    page: Page, tab: QuestionsTab, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groupcam.ui.questions_tab.UPDATE_S", 0)
    tab.turns._turn_s = 0
    tab.turns.others_wait = lambda: True
    token = tab.begin(VISITOR, choice.picture_id)[tab.turns.token]
    told: list[str] = []
    shown: Updates = {}

    for _ in range(40):
        turn = list(tab.run(VISITOR, token, "inferno", "", "", *present(page, choice, groups=12)))
        updates = [update for update in turn if update != gr.skip()]
        told += [update[tab.status] for update in updates if tab.status in update]
        for update in updates:
            shown.update(update)
        if tab.contrast in shown:
            break
        assert tab.turns.again in updates[-1]

    assert "Loading" in told[0]
    assert "Comparing the classes: 2 of " in told[1]
    assert "gc-done" in told[-1]


def test_what_cannot_be_compared_is_told(page: Page, tab: QuestionsTab, choice: Choice) -> None:
    for first, second, sentence in (
        ("class 1", "class 1", "The two classes must differ; got 'class 1' for both."),
        ("class 1", "CLASS 1", "must differ"),
        ("clas 1", "", "Did you mean"),
        ("99", "", "class index must be between 0 and 2"),
        (3, "", "A class must be a name; got 3."),
        (["class 1"], "", "A class must be a name"),
        ("", {"a": 1}, "A class must be a name"),
        (True, "", "A class must be a name"),
    ):
        shown = compare(page, choice, first, second)

        assert sentence in shown[tab.status].replace("&#x27;", "'"), (first, second)
        assert 'role="alert"' in shown[tab.status]
        assert tab.contrast not in shown  # what was shown before stays


def test_a_bad_setting_gives_a_sentence(page: Page, tab: QuestionsTab, choice: Choice) -> None:
    for changes in ({"groups": "abc"}, {"view": "sideways"}, {"class_name": "nobody"}):
        shown = compare(page, choice, **changes)

        assert 'role="alert"' in shown[tab.status], changes
        assert "must be" in shown[tab.status]


def test_an_accident_is_logged_and_told_in_plain_words(
    page: Page,
    tab: QuestionsTab,
    choice: Choice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(page.workbench, "picture_of", explode)

    shown = compare(page, choice)

    assert "Something went wrong" in shown[tab.status]
    assert "secret" not in shown[tab.status]
    assert "secret details" in caplog.text


def test_without_a_picture_it_says_what_to_do_first(tab: QuestionsTab) -> None:
    begun = tab.begin(VISITOR, None)

    assert "Choose a picture first" in begun[tab.status]
    assert begun[tab.turns.token] is None


def test_stop_and_leaving_end_the_work(page: Page, tab: QuestionsTab, choice: Choice) -> None:
    tab.turns._turn_s = 0
    tab.turns.others_wait = lambda: True
    values = ["inferno", "", "", *present(page, choice)]
    token = tab.begin(VISITOR, choice.picture_id)[tab.turns.token]
    list(tab.run(VISITOR, token, *values))
    assert tab.turns._paused

    assert "Stopped." in tab.turns.stop_run(VISITOR)

    assert not tab.turns._paused
    assert list(tab.run(VISITOR, token, *values)) == [gr.skip()]
    list(tab.run(VISITOR, tab.begin(VISITOR, choice.picture_id)[tab.turns.token], *values))
    page.leave(VISITOR)
    assert not tab.turns._paused


def test_the_second_class_is_never_the_first(tiny_cnn: Backbone) -> None:
    logits = torch.tensor([1.0, 3.0, 2.0])

    assert pair_of(tiny_cnn, logits, "", None, None) == (1, 2)
    assert pair_of(tiny_cnn, logits, "class 2", "", None) == (2, 1)
    assert pair_of(tiny_cnn, logits, "", "", 0) == (0, 1)
    with pytest.raises(GroupCamError, match="must differ"):
        pair_of(tiny_cnn, logits, "", "class 0", 0)


# --- the present run -----------------------------------------------------------------------------


def test_what_to_do_is_said_until_there_is_a_run(tab: QuestionsTab, choice: Choice) -> None:
    def shown(choice: Choice | None, picture_id: str | None) -> dict[Any, Any]:
        return tab.show(choice, picture_id, None, None, "", "")

    assert say("questions.no_picture") in shown(None, None)[tab.findings]
    assert say("steps.no_run") in shown(None, choice.picture_id)[tab.findings]
    gone = shown(choice, choice.picture_id)
    assert say("steps.not_kept") in gone[tab.findings]
    assert gone[tab.explain_top].visible is False


def test_a_wrong_class_is_told_and_the_top_one_offered(
    tab: QuestionsTab, choice: Choice, explain: Explain, forwards: list[int]
) -> None:
    top, _, last = ranked(explain(choice))
    wrong = explain(choice._replace(class_name=last)).choice
    forwards.clear()

    shown = tab.show(wrong, wrong.picture_id, KEY, KEY, "", "")
    right = tab.show(choice, choice.picture_id, KEY, KEY, "", "")

    assert f"First is &#x27;{top}&#x27;" in shown[tab.findings]
    assert shown[tab.explain_top].visible is True
    assert shown[tab.explain_top].value == f"Explain '{top}' instead"
    assert right[tab.explain_top].visible is False
    assert f"To be compared: <b>{last}</b>" in shown[tab.pair]
    assert f"with <b>{top}</b>" in shown[tab.pair]
    assert forwards == []


def test_a_healthy_map_is_told_in_words(
    tab: QuestionsTab, choice: Choice, explain: Explain
) -> None:
    run = explain(choice)

    text = tab.show(choice, choice.picture_id, KEY, KEY, "", "")[tab.findings]

    helpful = int((run.explanation.group_weights > 0).sum())
    assert "The map is not blank: str" in text
    assert f"{helpful} of 4 group masks raise the probability of" in text


def test_names_are_escaped(
    tab: QuestionsTab, choice: Choice, explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    backbone = tab._workbench.load(KEY)
    object.__setattr__(backbone, "class_names", (evil, f"{evil}1", f"{evil}2"))
    last = backbone.class_names[int(explain(choice).explanation.logits.argmin())]
    wrong = explain(choice._replace(class_name=last)).choice

    shown = tab.show(wrong, wrong.picture_id, KEY, KEY, "", "")

    assert "<img" not in shown[tab.findings]
    assert "&lt;img" in shown[tab.findings]
    assert "<img" not in shown[tab.pair]


def test_a_new_run_is_told_only_to_an_open_tab(
    tab: QuestionsTab, choice: Choice, explain: Explain
) -> None:
    explain(choice)
    values = [choice, choice.picture_id, KEY, KEY, "", ""]

    assert tab.follow(*values, False) == gr.skip()
    assert tab.follow(*values, "made up") == gr.skip()
    assert "The map is" in tab.follow(*values, True)[tab.findings]


def test_the_lists_follow_the_backbone_and_are_else_left_alone(tab: QuestionsTab) -> None:
    shown = tab.show(None, None, KEY, None, "class 1", "tench")

    assert [value for _, value in shown[tab.first].choices] == ["", *NAMES]
    assert shown[tab.first].choices[0] == (say("questions.explained"), "")
    assert shown[tab.second].choices[0] == (say("questions.runner_up"), "")
    assert (shown[tab.first].value, shown[tab.second].value) == ("class 1", "")
    assert shown[tab.listed] == KEY
    again = tab.show(None, None, KEY, KEY, "class 1", "")
    assert tab.first not in again
    assert tab.second not in again


def test_the_pair_is_told_or_why_there_is_none(
    tab: QuestionsTab, choice: Choice, explain: Explain
) -> None:
    explain(choice)

    assert "with <b>class 1</b>" in tab.show_pair(choice, "class 0", "class 1")
    assert "must differ" in tab.show_pair(choice, "class 1", "class 1")
    assert "must be a name" in tab.show_pair(choice, 5, "")
    assert tab.show_pair(None, "class 0", "class 1") == ""


# --- other tabs ----------------------------------------------------------------------------------


def test_the_ways_to_other_tabs_choose_what_differs(page: Page, tab: QuestionsTab) -> None:
    sanity = tab.lead_to("sanity", None)
    layers = tab.lead_to("compare", "layer")

    assert sanity[page.ui.tab_strip].selected == "sanity"
    assert page.compare.axis not in sanity
    assert (layers[page.ui.tab_strip].selected, layers[page.compare.axis]) == ("compare", "layer")
    assert {"sanity", "compare"} <= set(page.ui.tabs)
