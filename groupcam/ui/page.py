"""The page: its tabs, which event of the shared controls calls what, how a picture comes in."""

import copy
from collections.abc import Iterator
from typing import Any

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.language import ENGLISH, LANGUAGES, in_language, say, speaking
from groupcam.saliency import PRESETS
from groupcam.ui import views
from groupcam.ui.api import add_endpoints
from groupcam.ui.augment_tab import AugmentTab
from groupcam.ui.compare_tab import CompareTab
from groupcam.ui.comparison import Comparisons
from groupcam.ui.components import MODEL_QUEUE
from groupcam.ui.downloads import Downloads
from groupcam.ui.latest import LatestWins
from groupcam.ui.layout import Layout
from groupcam.ui.lessons_tab import LessonsTab
from groupcam.ui.links import Opening, opening_of
from groupcam.ui.opening import Opener
from groupcam.ui.payloads import check_controls
from groupcam.ui.questions_tab import QuestionsTab
from groupcam.ui.result_views import ResultViews
from groupcam.ui.run_events import RunEvents
from groupcam.ui.sanity_tab import SanityTab
from groupcam.ui.service import Service
from groupcam.ui.steps_tab import StepsTab
from groupcam.ui.tabs import AT_ONCE, PRIVATE, Tab
from groupcam.ui.toasts import inform, warn
from groupcam.ui.turns import Updates
from groupcam.ui.uploads import uploaded_path
from groupcam.ui.workbench import Workbench

FIRST_EXAMPLE = "cat"  # explained at a first visit, so that there is something to see
MOST_OPENING = 16  # at the same time; each may wait for a download

# Group masks stand apart from the tabs, so that a phone shows them last; see page.css.
SET_TAB = (
    "() => {{ document.querySelector('#gc-main').dataset.tab = '{name}'; "
    "document.dispatchEvent(new Event('gc-tab')) }}"
)


class Page:
    """The page in one language, with its workbench; `build` lays it out and wires it."""

    def __init__(
        self,
        workbench: Workbench,
        language: str = ENGLISH,
        *,
        service: Service | None = None,
    ) -> None:
        self.workbench = workbench
        self.language = language
        self.service = service or Service()
        self.latest = LatestWins()
        self.views = ResultViews(self.workbench)
        self.downloads = Downloads(self.workbench)
        self.comparisons = Comparisons(self.workbench)
        self.compare = CompareTab(self.workbench, self.comparisons)
        self.sanity = SanityTab(self.workbench)
        self.augment = AugmentTab(self.workbench)
        self.steps = StepsTab(self.workbench)
        self.lessons = LessonsTab(self.workbench, self.compare, self.comparisons)
        self.questions = QuestionsTab(self.workbench, self.compare)
        self.tabs: list[Tab] = [
            *(self.steps, self.questions, self.compare, self.sanity),
            *(self.augment, self.lessons),
        ]

    def build(self) -> gr.Blocks:
        """Return the app with this page as its first."""
        demo: gr.Blocks
        with gr.Blocks(
            title="groupcam", analytics_enabled=False, delete_cache=(3600, 24 * 3600)
        ) as demo:
            self._place(demo)
            earlier = set(demo.fns)
            add_endpoints(self.workbench, self.comparisons)
            self._adopt(demo, earlier)
        return demo

    def add_to(self, demo: gr.Blocks) -> None:
        """Add this page to an app, at the address of its language."""
        with demo.route(LANGUAGES[self.language], f"/{self.language}", show_in_navbar=False):
            self._place(demo)

    def _place(self, demo: gr.Blocks) -> None:
        """Lay the page out and wire it; from now on its events speak its language."""
        earlier = set(demo.fns)
        with speaking(self.language):
            self.ui = Layout([(tab.name, tab.title, tab.place) for tab in self.tabs])
            self.runs = RunEvents(self.workbench, self.latest, self.ui)
            self.opener = Opener(self.workbench, self.latest, self.ui, self.runs)
            self._wire(demo)
            self.views.wire(self.ui)
            self.downloads.wire(self.ui)
            for tab in self.tabs:
                tab.wire(self.ui, self.ui.tabs[tab.name])
            for name, opened in self.ui.tabs.items():
                opened.select(None, None, None, js=SET_TAB.format(name=name), **PRIVATE)
        self._adopt(demo, earlier)

    def _adopt(self, demo: gr.Blocks, earlier: set[int]) -> None:
        """Make new events speak the page's language, and those that run networks be watched."""
        for index in set(demo.fns) - earlier:
            event = demo.fns[index]
            if event.fn is None:
                continue
            if event.concurrency_id == MODEL_QUEUE:
                event.fn = self.service.watched(event.fn)
            event.fn = in_language(self.language, event.fn)

    # --- wiring --------------------------------------------------------------------------------

    def _wire(self, demo: gr.Blocks) -> None:
        self._demo = demo
        controls = self.ui.controls
        inputs = [
            self.ui.token,
            self.ui.picture_id,
            self.ui.shown_backbone,
            self.ui.weights_of,
            self.ui.color_map,
        ]
        outputs = [
            *(self.ui.status, self.ui.viewer, self.ui.top, self.ui.masks),
            *(self.ui.weights, self.ui.weights_of),
            *(self.ui.input_size, self.ui.layers, self.ui.layer, self.ui.class_name),
            *(
                self.ui.detail,
                self.ui.curves,
                self.ui.perturbed,
                self.ui.choice,
                self.ui.shown_backbone,
            ),
            self.ui.settings.groups,
        ]

        self.runs.turns.connect_turns(
            self.ui.status, self.runs.stopped, self.runs.run, [*inputs, *controls], outputs
        )
        run = self.runs.turns.start_after

        settling: dict[str, Any] = {
            "fn": self.runs.settle,
            "inputs": [self.ui.picture_id, *controls],
            "outputs": self.ui.token,
            "queue": False,
            "trigger_mode": "always_last",
            "preprocess": False,
            **PRIVATE,
        }

        def then_run(event: Any) -> None:
            """After an event: wait until the choice rests, then run it."""
            run(event.success(**settling).success)

        opened = demo.load(
            self.open_page, None, self.opener.outputs, concurrency_limit=MOST_OPENING, **PRIVATE
        )
        taken = self.ui.picture.change(
            self.take_picture,
            [self.ui.picture, self.ui.picture_id, self.ui.picture_path, *controls],
            [
                *(self.ui.picture, self.ui.picture_id, self.ui.picture_path),
                *(self.ui.class_name, self.ui.token),
                *(self.ui.status, self.ui.viewer, self.ui.top, self.ui.masks, self.ui.detail),
                *(self.ui.curves, self.ui.perturbed, self.ui.choice),
            ],
            preprocess=False,
            trigger_mode="always_last",
            **PRIVATE,
        )
        for event in (opened, taken):
            event.failure(self.runs.turns.refused, None, self.ui.status, **AT_ONCE)
            run(event.success)  # at once: a picture need not come to rest
        self.ui.choice.change(self.opener.link_of, self.ui.choice, self.ui.link, **AT_ONCE)
        demo.unload(self.leave)
        lists = (self.ui.backbone, self.ui.weights, self.ui.input_size, self.ui.class_name)
        user_changes = [dropdown.input for dropdown in lists]
        for control in self.ui.settings.all:
            user_changes.append(control.input)
            if isinstance(control, gr.Slider):
                user_changes.append(control.release)  # the reset button and number box
        # Straight on the controls: only there does "always_last" come back for the last value.
        run(gr.on(user_changes, **settling).success)
        then_run(self.ui.layers.pick(self.runs.choose_layer, None, self.ui.layer, **AT_ONCE))
        then_run(self.ui.top.select(self.runs.choose_class, None, self.ui.class_name, **AT_ONCE))
        for name, button in self.ui.settings.presets.items():
            then_run(
                button.click(
                    lambda config=PRESETS[name]: self.ui.settings.values_of(config),
                    None,
                    self.ui.settings.all,
                    **AT_ONCE,
                )
            )
        then_run(self.steps.adjusted(self.ui))
        run(self.lessons.opened(self.ui, self.opener).success)
        then_run(self.questions.chosen(self.ui))
        then_run(self.ui.run_again.click(self.runs.forget, None, None, **AT_ONCE))
        self.ui.stop.click(self.runs.turns.stop_run, None, self.ui.status, **AT_ONCE)

    # --- events: the picture and the choice ------------------------------------------------------

    def open_page(self, request: gr.Request) -> Iterator[Updates]:
        """Show what the address asks for, or at a first visit an example."""
        session = str(request.session_hash)
        try:
            opening = opening_of(request.query_params) or Opening(example=FIRST_EXAMPLE)
            yield from self.opener.steps(session, opening, None)
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            yield from self.opener.steps(session, Opening(), None)
            warn(str(error))
            text = say("link.cannot_follow", reason=error)
            yield {self.ui.status: views.status(text, "error")}

    def take_picture(
        self,
        request: gr.Request,
        upload: dict[str, Any] | None,
        picture_id: str | None,
        path: str | None,
        *controls: Any,
    ) -> Updates:
        """Open a picture; one that cannot be used gives a sentence, and the last one stays."""
        if upload is None:  # also what "Upload file" does before the visitor has chosen one
            return {self.ui.picture_path: path}
        try:
            check_controls(controls)
            new_id, picture = self.workbench.add_picture(uploaded_path(upload))
        except GroupCamError as error:
            return {self.ui.picture: path, self.ui.status: views.status(str(error), "error")}
        backbone, weights, input_size, layer, _, *settings = controls
        # Another picture starts at its top class.
        choice = (new_id, backbone, weights, input_size, layer, "", *settings)
        session = str(request.session_hash)
        token = None if new_id == picture_id else self.latest.choose(session, choice)
        if token is None:  # known: a browser with much to do may tell of one picture twice at once
            return {self.ui.picture_path: upload["path"]}
        for note in picture.notes:
            inform(note)
        return {
            self.ui.token: token,
            self.ui.picture_id: new_id,
            self.ui.picture_path: upload["path"],
            self.ui.class_name: "",
            self.ui.status: views.status(say("status.looking"), "busy"),
        }

    def leave(self, request: gr.Request) -> None:
        """Forget a visitor who closed the page.

        Gradio keeps what every part of the page showed, pictures and lists too: 2 MB a visitor. It
        does so for deep links and to check lists, and this page has the first shut and does the
        second itself. The states stay for the hour in which he may come back.
        """
        session = str(request.session_hash)
        holder = getattr(self._demo, "state_holder", None)  # None: not launched
        if holder is not None and session in holder:
            kept = holder.session_data[session]
            kept.config_values.clear()
            kept.blocks_config = copy.copy(self._demo.default_config)
        self.runs.leave(session)
        for tab in self.tabs:
            tab.leave(session)
