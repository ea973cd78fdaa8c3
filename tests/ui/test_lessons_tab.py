"""The Lessons tab's callbacks as Gradio calls them, with a tiny network."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from groupcam.language import LANGUAGES, speaking
from groupcam.share.lessons import LESSONS, SCATTER
from groupcam.ui.compare_tab import CompareTab
from groupcam.ui.comparison import Comparisons
from groupcam.ui.lessons_tab import LessonsTab
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice, Run
from groupcam.ui.workbench import Workbench

Explain = Callable[[Choice], Run]
VISITOR: Any = SimpleNamespace(session_hash="visitor")
NAMES = [lesson.name for lesson in LESSONS]


@pytest.fixture
def comparisons(workbench: Workbench) -> Comparisons:
    return Comparisons(workbench)


@pytest.fixture
def tab(workbench: Workbench, comparisons: Comparisons) -> LessonsTab:
    """The tab without a page, for what touches none of its components."""
    return LessonsTab(workbench, CompareTab(workbench, comparisons), comparisons)


def event(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def brought_up(page: Page, **data: Any) -> dict[Any, Any]:
    shown: dict[Any, Any] = {}
    for updates in page.lessons.bring_up(VISITOR, None, event(**data)):
        shown |= updates
    return shown


def test_lessons_are_shown_once_with_all_that_a_visitor_reads(page: Page) -> None:
    tab = page.lessons

    shown = tab.show(False)

    lessons = shown[tab.lessons]["lessons"]
    assert [lesson["name"] for lesson in lessons] == NAMES
    assert all(lesson["figure"].startswith(("<svg", "<div")) for lesson in lessons)
    assert all(one["source"].startswith("data:image/") for one in lessons[4]["pictures"])
    assert len(lessons[4]["pictures"]) == 2
    assert "answer" not in lessons[0]
    assert tab.show(shown[tab.is_shown]) == gr.skip()


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_lesson_sends_to_a_tab_by_what_stands_on_it(workbench: Workbench, code: str) -> None:
    page = Page(workbench, code)
    demo = page.build()

    with speaking(code):
        shown = page.lessons.show(False)[page.lessons.lessons]["lessons"]

    titles = {str(tab.label) for tab in page.ui.tabs.values()}
    for lesson in shown:
        assert lesson["look_in"] in titles
        assert lesson["look_in"] in lesson["look"]
    demo.close()


def test_a_scene_sets_picture_class_and_settings_and_makes_a_run(page: Page) -> None:
    groups = brought_up(page, lesson="groups", scene=0)
    blur = brought_up(page, lesson="blur", scene=1)

    settings = page.ui.settings
    assert groups[settings.groups].value == 1
    assert groups[page.ui.picture].endswith("espresso.jpg")
    assert blur[settings.blur_sigma_px] == 2.0
    assert blur[page.ui.picture].endswith("cat.jpg")
    assert blur[page.ui.token] is not None
    assert blur[page.ui.token] != groups[page.ui.token]
    assert page.ui.tab_strip not in blur  # the visitor reads on; the lesson says where to look


def test_the_lesson_of_the_curves_chooses_the_methods_to_compare(page: Page) -> None:
    shown = brought_up(page, lesson="curves", scene=0)

    assert shown[page.compare.chosen["method"]] == ["group_cam", SCATTER]
    assert shown[page.compare.axis] == "method"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"lesson": "nothing", "scene": 0}, "must be one of map"),
        ({"lesson": ["map"], "scene": 0}, "must be one of map"),
        ({"scene": 0}, "must be one of map"),
        ({"lesson": "map", "scene": 2}, "one of the 2 shown"),
        ({"lesson": "map", "scene": True}, "one of the 2 shown"),
        ({"lesson": "map", "scene": "0"}, "one of the 2 shown"),
    ],
    ids=str,
)
def test_a_scene_that_is_not_there_is_refused(
    tab: LessonsTab, data: dict[str, Any], words: str
) -> None:
    with pytest.raises(gr.Error, match=words):
        list(tab.bring_up(VISITOR, None, event(**data)))


@pytest.mark.parametrize("option", [None, -1, 3, True, "1"], ids=repr)
def test_an_answer_needs_a_prediction(tab: LessonsTab, option: Any) -> None:
    with pytest.raises(gr.Error, match="one of the 3 shown"):
        tab.tell("inferno", event(lesson="map", option=option))


def test_the_verdict_follows_the_prediction(tab: LessonsTab) -> None:
    lesson = LESSONS[0]
    wrong = (lesson.right + 1) % len(lesson.options)

    right = tab.tell("inferno", event(lesson="map", option=lesson.right, serial=4))
    other = tab.tell("inferno", event(lesson="map", option=wrong, serial=5))

    assert (right["is_right"], right["serial"]) == (True, 4)
    assert lesson.options[lesson.right].reply in right["verdict"]
    assert (other["is_right"], other["serial"]) == (False, 5)
    assert lesson.options[wrong].reply in other["verdict"]
    assert right["answer"] == other["answer"] == lesson.answer


def test_numbers_come_from_the_runs_that_are_kept(
    tab: LessonsTab, explain: Explain, finish: Explain, forwards: list[int]
) -> None:
    lesson = LESSONS[0]
    first = lesson.scenes[0]
    nothing = tab.tell("inferno", event(lesson="map", option=0))
    explain(tab.choice_of(first))
    forwards.clear()
    mapped = tab.tell("inferno", event(lesson="map", option=0))
    assert forwards == []
    run = finish(tab.choice_of(first))
    drawn = tab.tell("inferno", event(lesson="map", option=0))

    assert nothing["results"] == []
    assert all(scene.button in nothing["missing"] for scene in lesson.scenes)
    assert [one["title"] for one in mapped["results"]] == [first.title]
    assert "deletion AUC" not in dict(mapped["results"][0]["facts"])
    assert lesson.scenes[1].button in mapped["missing"]
    assert first.button not in mapped["missing"]
    assert run.curves is not None
    assert dict(drawn["results"][0]["facts"])["deletion AUC"] == f"{run.curves.deletion_auc:.3f}"


def test_the_other_map_of_the_curves_lesson_comes_from_the_comparison(
    tab: LessonsTab, comparisons: Comparisons, finish: Explain
) -> None:
    scene = next(lesson for lesson in LESSONS if lesson.name == "curves").scenes[0]
    choice = tab.choice_of(scene)
    finish(choice)

    alone = tab.tell("inferno", event(lesson="curves", option=0))["numbers"]
    for _ in comparisons.steps(choice, "method", ["grad_cam", SCATTER]):
        pass
    both = tab.tell("inferno", event(lesson="curves", option=0))["numbers"]

    assert "Press Compare" in alone[-1]
    assert "Guided backpropagation has insertion" in both[-1]


def test_papers_are_made_once_for_each_language(tab: LessonsTab) -> None:
    path, answers = tab.make_paper("sheet"), tab.make_paper("answers")
    with speaking("de"):
        german = tab.make_paper("sheet")

    assert path.endswith("/groupcam-lessons.html")
    assert answers.endswith("/groupcam-lessons-answers.html")
    assert tab.make_paper("sheet") == path
    assert "Wohin schaut das Netz?" in Path(german).read_text(encoding="utf-8")
    for one in (path, answers):
        assert "Where does the network look?" in Path(one).read_text(encoding="utf-8")
