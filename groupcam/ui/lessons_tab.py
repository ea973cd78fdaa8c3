"""The Lessons tab: predict what a map will show, see it, read why.

The lessons are data in `groupcam.share.lessons`. Nothing here runs a network: a lesson brings a
picture and settings into the shared controls, and its answer reads the numbers of that run.
"""

import functools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import gradio as gr
import numpy as np
import numpy.typing as npt

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.language import present_language, say
from groupcam.models import DEFAULT_BACKBONE, Backbone, default_target_layer
from groupcam.render.heatmap import DEFAULT_OPACITY, overlay
from groupcam.share.lessons import LESSONS, Lesson, Result, Scene, picture_caption
from groupcam.share.sheet import answers_of, sheet_of
from groupcam.ui import components, views
from groupcam.ui.compare_tab import CompareTab
from groupcam.ui.compared import Entry
from groupcam.ui.comparison import Comparisons
from groupcam.ui.components import EXAMPLES
from groupcam.ui.layout import Layout
from groupcam.ui.links import Opening
from groupcam.ui.opening import Opener
from groupcam.ui.payloads import payload_of, serial_of, told
from groupcam.ui.present import DEFAULT_WEIGHTS, key_of
from groupcam.ui.runs import Choice, fitted
from groupcam.ui.tabs import AT_ONCE, PRIVATE
from groupcam.ui.toasts import refusal
from groupcam.ui.turns import Updates
from groupcam.ui.workbench import Workbench

# What can be printed, and the name of its file.
PAPERS = {"sheet": "groupcam-lessons.html", "answers": "groupcam-lessons-answers.html"}
CLICK_DOWNLOAD = "() => document.querySelector('#gc-lessons-file').click()"
KEY = key_of(DEFAULT_BACKBONE, DEFAULT_WEIGHTS, "")
MOST_OPENING = 16  # at the same time, as at the page's own opening


class LessonsTab:
    """What stands in the tab, and what its events do."""

    name = "lessons"

    def __init__(self, workbench: Workbench, compare: CompareTab, comparisons: Comparisons) -> None:
        self._workbench = workbench
        self._compare = compare
        self._comparisons = comparisons
        # Gradio serves copies; ours go when the process ends.
        self._files = tempfile.TemporaryDirectory(prefix="groupcam-lessons-")

    @property
    def title(self) -> str:
        """Return what stands on the tab."""
        return say("lessons.title")

    # --- layout ----------------------------------------------------------------------------------

    def place(self, ui: Layout) -> None:
        """Create the components."""
        self.is_shown = gr.State(False)
        self.lessons = components.from_assets("lessons", {}, elem_id="gc-lessons")
        self.told = components.from_assets("lesson_told", {}, elem_classes="gc-unseen")
        with gr.Row(elem_id="gc-lessons-papers"):
            self.papers = {kind: gr.Button(say(f"lessons.{kind}"), size="sm") for kind in PAPERS}
        self.file = gr.DownloadButton(visible="hidden", elem_id="gc-lessons-file")

    # --- wiring ----------------------------------------------------------------------------------

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events."""
        self._tabs = ui.tabs
        opened.select(self.show, self.is_shown, [self.lessons, self.is_shown], **AT_ONCE)
        self.lessons.ask(self.tell, ui.color_map, self.told, trigger_mode="multiple", **AT_ONCE)
        for kind, button in self.papers.items():
            button.click(
                functools.partial(self.make_paper, kind), None, self.file, **PRIVATE
            ).success(None, None, None, js=CLICK_DOWNLOAD, **PRIVATE)

    def opened(self, ui: Layout, opener: Opener) -> Any:
        """Return the event after which the shared controls show a scene; a run must follow."""
        self._opener = opener
        return self.lessons.scene(
            self.bring_up,
            ui.picture_id,
            [*opener.outputs, self._compare.axis, self._compare.chosen["method"]],
            trigger_mode="multiple",
            concurrency_limit=MOST_OPENING,
            **PRIVATE,
        )

    # --- events ----------------------------------------------------------------------------------

    @told
    def show(self, is_shown: bool) -> Any:
        """Show the lessons; they never change, so once is enough."""
        if is_shown:
            return gr.skip()
        seen = self.seen()
        tabs = {name: str(tab.label) for name, tab in self._tabs.items()}
        value = [
            {
                "name": lesson.name,
                "title": lesson.title,
                "short": lesson.short,
                "explanation": lesson.explanation,
                "figure": lesson.figure(seen[lesson.examples[0]]),
                "pictures": [
                    {"source": views.data_uri(seen[name]), "says": picture_caption(name)}
                    for name in lesson.examples
                ],
                "question": lesson.question,
                "options": [option.text for option in lesson.options],
                "scenes": [scene.button for scene in lesson.scenes],
                "look": lesson.look(tabs),
                "look_in": tabs[lesson.look_in],
            }
            for lesson in LESSONS
        ]
        return {self.lessons: {"lessons": value}, self.is_shown: True}

    def bring_up(
        self, request: gr.Request, picture_id: str | None, event: gr.EventData
    ) -> Iterator[Updates]:
        """Set the shared controls to a scene of a lesson."""
        lesson, data = _asked(event)
        place, count = data.get("scene"), len(lesson.scenes)
        if not _is_place(place, count):
            raise refusal(say("lessons.no_such_scene", count=count, value=shown(place)))
        scene = lesson.scenes[place]
        if scene.methods:
            methods = list(scene.methods)
            yield {self._compare.axis: "method", self._compare.chosen["method"]: methods}
        try:
            yield from self._opener.steps(
                str(request.session_hash), opening_of_scene(scene), picture_id
            )
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            raise refusal(str(error)) from error

    @told
    def tell(self, color_map: str, event: gr.EventData) -> dict[str, Any]:
        """Return a lesson's answer to a prediction, with the numbers of its runs."""
        lesson, data = _asked(event)
        place, count = data.get("option"), len(lesson.options)
        if not _is_place(place, count):
            raise refusal(say("lessons.no_such_prediction", count=count, value=shown(place)))
        reply = lesson.options[place].reply
        results = self.results_of(lesson)
        is_right = place == lesson.right
        return {
            "lesson": lesson.name,
            "serial": serial_of(data),
            "is_right": is_right,
            "verdict": say("lessons.right", reply=reply)
            if is_right
            else say("lessons.wrong", reply=reply),
            "answer": lesson.answer,
            "numbers": lesson.numbers(results),
            "missing": _missing(lesson, results),
            "results": [
                {
                    "title": scene.title,
                    "picture": views.data_uri(_drawn(result, color_map)),
                    "facts": scene.facts_of(result),
                }
                for scene, result in zip(lesson.scenes, results, strict=True)
                if result is not None
            ],
        }

    @told
    def make_paper(self, kind: str) -> str:
        """Write what can be printed and return its path."""
        path = Path(self._files.name) / present_language() / PAPERS[kind]
        if not path.exists():  # it never changes
            text = sheet_of(self.seen()) if kind == "sheet" else answers_of()
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return str(path)

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page: nothing is kept for one."""

    # --- pictures and runs -----------------------------------------------------------------------

    def seen(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Return every example's picture as the network sees it, uint8 (H, W, 3), by its name."""
        preprocessing = self._backbone().preprocessing
        pictures = {path.stem: self._workbench.add_picture(path)[1] for path in EXAMPLES}
        return {
            name: preprocessing.to_rgb(preprocessing(picture.rgb))
            for name, picture in pictures.items()
        }

    def results_of(self, lesson: Lesson) -> list[Result | None]:
        """Return what is kept of a lesson's runs, scene by scene; None: nothing."""
        return [self._result_of(scene) for scene in lesson.scenes]

    def _result_of(self, scene: Scene) -> Result | None:
        choice = self.choice_of(scene)
        run = self._workbench.run_of(choice)
        if run is None:
            return None
        named = choice._replace(class_name=run.explanation.class_label)  # as the Compare tab has it
        compared = {
            method: self._comparisons.result_of(Entry(method, named)) for method in scene.methods
        }
        drawn = {name: one.curves for name, one in compared.items() if one and one.curves}
        return Result(run.explanation, run.curves, drawn)

    def choice_of(self, scene: Scene) -> Choice:
        """Return the choice that the page's controls make of a scene."""
        layer = default_target_layer(self._backbone())
        picture_id, _ = self._workbench.add_picture(_path_of(scene.example))
        config = fitted(scene.config, layer)
        return Choice(picture_id, KEY, layer.name, scene.class_name or None, config, "crop")

    def _backbone(self) -> Backbone:
        return self._workbench.load(KEY)


def opening_of_scene(scene: Scene) -> Opening:
    """Return what the shared controls must show for a scene."""
    return Opening(example=scene.example, class_name=scene.class_name, config=scene.config)


def _path_of(example: str) -> Path:
    return next(path for path in EXAMPLES if path.stem == example)


def _asked(event: gr.EventData) -> tuple[Lesson, dict[str, Any]]:
    """Return the lesson that an event is about, and what else it says."""
    data = payload_of(event)
    names = [lesson.name for lesson in LESSONS]
    name = data.get("lesson")
    if name not in names:
        text = say("lessons.no_such_lesson", names=", ".join(names), value=shown(name))
        raise refusal(text)
    return LESSONS[names.index(name)], data


def _is_place(value: Any, count: int) -> TypeGuard[int]:
    """Return whether a value is a place in a list of so many, from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _missing(lesson: Lesson, results: Sequence[Result | None]) -> str:
    """Return what is still to come, and how."""
    buttons = [
        scene.button for scene, result in zip(lesson.scenes, results, strict=True) if result is None
    ]
    if len(buttons) == 1:
        return say("lessons.press_one", button=buttons[0])
    if buttons:
        return say("lessons.press_both", first=buttons[0], second=buttons[1])
    is_drawn = all(result is not None and result.curves is not None for result in results)
    return "" if is_drawn else say("lessons.curves_to_come")


def _drawn(result: Result, color_map: str) -> npt.NDArray[np.uint8]:
    """Return a result's map on the picture that the network saw."""
    explanation = result.explanation
    assert explanation.picture_seen is not None  # the workbench keeps it
    if explanation.blank_reason is not None:
        return explanation.picture_seen
    return overlay(
        explanation.picture_seen,
        explanation.saliency_map.numpy(),
        color_map=color_map,
        opacity=DEFAULT_OPACITY,
    )
