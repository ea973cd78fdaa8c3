"""The Questions tab: what people ask about a map, each with its answer or the way there."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.language import say
from groupcam.models import Backbone, resolve_target_layer
from groupcam.models.pool import BackboneKey
from groupcam.saliency.contrast import contrast_steps
from groupcam.saliency.diagnosis import diagnose
from groupcam.saliency.engine import forward
from groupcam.steps import relay, timed
from groupcam.ui import components, question_views, views
from groupcam.ui.compare_tab import CompareTab
from groupcam.ui.event_log import log_accident
from groupcam.ui.layout import Layout
from groupcam.ui.payloads import told
from groupcam.ui.present import read_choice
from groupcam.ui.run_events import UPDATE_S
from groupcam.ui.runs import Choice, Run, Shown, fitted
from groupcam.ui.sanity_tab import SanityTab
from groupcam.ui.tabs import AT_ONCE, is_open
from groupcam.ui.turns import Turns, Updates, Work
from groupcam.ui.workbench import MAP_S, Workbench, map_too_slow

# After a click on the way to another tab: its name has the focus and stands in the window.
SHOW_STRIP = """() => {
  const strip = document.querySelector('#gc-tabs')
  strip.querySelector('[role=tab][aria-selected=true]')?.focus({preventScroll: true})
  strip.scrollIntoView({block: 'start'})
}"""


class QuestionsTab:
    """What stands in the tab, and what its events do."""

    name = "questions"

    def __init__(self, workbench: Workbench, compare: CompareTab) -> None:
        """Build nothing yet.

        Args:
            workbench: has the pictures, the backbones and the runs.
            compare: the tab that two of the questions lead to.
        """
        self._workbench = workbench
        self._others = compare

    @property
    def title(self) -> str:
        """Return what stands on the tab."""
        return say("questions.title")

    # --- layout ----------------------------------------------------------------------------------

    def place(self, ui: Layout) -> None:
        """Create the components."""
        self.turns = Turns()
        self.is_open = gr.Checkbox(False, visible=False)
        self.listed = gr.State(None)  # the BackboneKey whose classes the lists hold
        with gr.Column(elem_classes="gc-question"):
            _heading(say("questions.why_blank"))
            self.findings = gr.HTML(
                question_views.nothing_found(say("questions.no_picture")), elem_id="gc-diagnosis"
            )
            self.explain_top = gr.Button("", size="sm", visible=False, elem_id="gc-explain-top")
        with gr.Column(elem_classes="gc-question"):
            _heading(say("questions.why_this_class"))
            with gr.Row():
                self.first = _class_list(say("questions.first"), _explained())
                self.second = _class_list(say("questions.second"), _runner_up())
            self.pair = gr.HTML("", elem_id="gc-pair-of-classes")
            with gr.Row():
                self.compare = gr.Button(
                    say("questions.compare"), variant="primary", size="sm", min_width=90
                )
                self.stop = gr.Button(say("questions.stop"), size="sm", min_width=90)
            ready = views.status(say("questions.ready"))
            self.status = gr.HTML(ready, elem_id="gc-contrast-status")
            self.contrast = components.from_assets("contrast", {}, elem_id="gc-contrast")
        with gr.Column(elem_classes="gc-question"):
            _heading(say("questions.if_random"), say("questions.if_random_note"))
            with gr.Row():
                self.to_sanity = _way(say("questions.to_sanity"))
        with gr.Column(elem_classes="gc-question"):
            _heading(say("questions.elsewhere"), say("questions.elsewhere_note"))
            with gr.Row():
                self.to_layers = _way(say("questions.to_layers"))
                self.to_backbones = _way(say("questions.to_backbones"))

    # --- wiring ----------------------------------------------------------------------------------

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events."""
        self._ui = ui
        raw: dict[str, Any] = {"preprocess": False, **AT_ONCE}
        self.turns.connect(
            status=self.status,
            start=self.compare,
            begin=self.begin,
            begin_inputs=[ui.picture_id],
            stop=self.stop,
            stopped=lambda: views.status(say("questions.stopped")),
            run=self.run,
            inputs=[ui.color_map, self.first, self.second, *ui.present],
            outputs=[self.contrast],
        )
        present = [
            ui.choice,
            ui.picture_id,
            ui.shown_backbone,
            self.listed,
            self.first,
            self.second,
        ]
        lists = [self.first, self.second, self.listed]
        outputs = [self.findings, self.explain_top, self.pair, *lists]
        opened.select(self.show, present, outputs, **raw)
        gr.on(
            [ui.choice.change, ui.shown_backbone.change],
            self.follow,
            [*present, self.is_open],
            outputs,
            js=is_open(self.name),
            trigger_mode="always_last",
            **raw,
        )
        gr.on(
            [self.first.input, self.second.input],
            self.show_pair,
            [ui.choice, self.first, self.second],
            self.pair,
            trigger_mode="always_last",
            **raw,
        )
        for button, name, axis in (
            (self.to_sanity, SanityTab.name, None),
            (self.to_layers, CompareTab.name, "layer"),
            (self.to_backbones, CompareTab.name, "backbone"),
        ):
            button.click(
                lambda name=name, axis=axis: self.lead_to(name, axis),
                None,
                [ui.tab_strip, self._others.axis],
                **AT_ONCE,
            ).success(None, None, None, js=SHOW_STRIP, **AT_ONCE)

    def chosen(self, ui: Layout) -> Any:
        """Return the event after which the top class is what is to be explained."""
        return self.explain_top.click(lambda: "", None, ui.class_name, **AT_ONCE)

    # --- events: the run -------------------------------------------------------------------------

    @told
    def show(
        self,
        choice: Choice | None,
        picture_id: str | None,
        key: BackboneKey | None,
        listed: BackboneKey | None,
        first: Any,
        second: Any,
    ) -> Updates:
        """Say what the present run shows, and list the classes of the present backbone.

        Args:
            choice: the run's.
            picture_id: None before there is a picture.
            key: the backbone that the page shows.
            listed: the one whose classes are listed here.
            first: the class chosen in the first list, likewise `second`.
        """
        updates: Updates = {}
        if key is not None and key != listed:  # else the lists are left alone: they may be in use
            names = self._workbench.load(key).class_names
            first, second = (value if value in names else "" for value in (first, second))
            choices = [(name, name) for name in names]
            updates = {
                self.first: gr.Dropdown(choices=[_explained(), *choices], value=first),
                self.second: gr.Dropdown(choices=[_runner_up(), *choices], value=second),
                self.listed: key,
            }
        run = self._workbench.run_of(choice)
        if run is None:
            return {
                **updates,
                self.findings: question_views.nothing_found(_why_no_run(choice, picture_id)),
                self.explain_top: gr.Button(visible=False),
                self.pair: "",
            }
        return {**updates, **self._about(run), self.pair: self._pair_of(run, first, second)}

    def follow(self, *values: Any) -> Any:
        """Do what `show` does where the tab is open; the last value tells that."""
        return self.show(*values[:-1]) if values[-1] is True else gr.skip()

    @told
    def show_pair(self, choice: Choice | None, first: Any, second: Any) -> str:
        """Say which classes would be compared."""
        run = self._workbench.run_of(choice)
        return "" if run is None else self._pair_of(run, first, second)

    def _about(self, run: Run) -> Updates:
        """Return what a run shows, and the way to the top class where that is not explained."""
        names = self._workbench.load(run.choice.backbone).class_names
        found = diagnose(
            run.explanation,
            names,
            channel_weights=run.capture.channel_weights[0],
            caveat=run.caveat,
        )
        top = names[int(run.explanation.logits.argmax())]
        is_other = any(finding.kind == "other_class" for finding in found)
        return {
            self.findings: question_views.findings(run, found),
            self.explain_top: gr.Button(say("questions.explain_top", top=top), visible=is_other),
        }

    def _pair_of(self, run: Run, first: Any, second: Any) -> str:
        """Return the two classes with their probabilities, or why they cannot be compared."""
        backbone = self._workbench.load(run.choice.backbone)
        logits, explained = run.explanation.logits, run.explanation.class_index
        try:
            indices = pair_of(backbone, logits, first, second, explained)
        except (GroupCamError, TypeError) as error:
            return question_views.nothing_found(str(error))
        shares = logits.softmax(dim=0)
        one, other = ((backbone.class_names[index], float(shares[index])) for index in indices)
        return question_views.pair(one, other)

    # --- events: other tabs ----------------------------------------------------------------------

    def lead_to(self, name: str, axis: str | None) -> Updates:
        """Open another tab, with what differs there chosen."""
        updates: Updates = {self._ui.tab_strip: gr.Tabs(selected=name)}
        return updates if axis is None else {**updates, self._others.axis: axis}

    # --- events: two classes ---------------------------------------------------------------------

    def begin(self, request: gr.Request, picture_id: str | None) -> Updates:
        """Make a new contrast the visitor's only one."""
        if picture_id is None:
            text = views.status(say("questions.no_picture_yet"))
            return {self.turns.token: None, self.status: text}
        token = self.turns.begin(str(request.session_hash))
        text = views.status(say("questions.waiting"), "busy")
        return {self.turns.token: token, self.status: text}

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
        self.turns.stop(session)

    def run(
        self,
        request: gr.Request,
        token: int | None,
        color_map: str,
        first: Any,
        second: Any,
        *present: Any,
    ) -> Iterator[Updates | Any]:
        """Hold two classes against each other, one turn at a time, as updates of the page."""
        session = str(request.session_hash)
        yield from self.turns.follow(
            session, token, lambda: self._work(color_map, first, second, *present)
        )

    def _work(
        self, color_map: str, first: Any, second: Any, picture_id: str, *present: Any
    ) -> Work:
        """Hold the chosen classes against each other, as updates of the page."""
        try:
            wish = read_choice(self._ui.settings, picture_id, *present)
            picture = self._workbench.picture_of(wish)
            backbone = yield from relay(
                self._workbench.load_steps(wish.backbone),
                lambda event: {self.status: views.loading_status(event)},
            )
            layer = resolve_target_layer(backbone, wish.target_layer)
            inputs = backbone.preprocess(picture.rgb, wish.view)
            logits = forward(backbone, inputs)[0].float().cpu()
            explained = (
                None if wish.class_name is None else backbone.class_index_of(wish.class_name)
            )
            one, other = pair_of(backbone, logits, first, second, explained)
            next_report = 0.0
            steps = contrast_steps(
                backbone,
                inputs,
                class_index=one,
                against=other,
                config=fitted(wish.config, layer),
                target_layer=layer.name,
            )

            def report(done: int, total: int) -> Updates:
                nonlocal next_report
                if time.monotonic() < next_report:
                    return {}
                next_report = time.monotonic() + UPDATE_S
                text = say("questions.comparing")
                return {self.status: views.working_status(text, done, total)}

            found, elapsed_s = yield from relay(
                timed(steps, MAP_S, map_too_slow), lambda step: report(step.done, step.total)
            )
            shown = Shown(wish, picture, backbone.preprocessing)
            text = say("questions.done", seconds=elapsed_s, forward_passes=found.forward_passes)
            yield {
                self.contrast: question_views.contrast(shown, found, color_map),
                self.status: views.status(text, "done"),
            }
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            yield {self.status: views.status(str(error), "error")}
        except Exception as error:
            yield {self.status: views.status(log_accident("A contrast failed.", error), "error")}


def pair_of(
    backbone: Backbone, logits: Tensor, first: Any, second: Any, explained: int | None
) -> tuple[int, int]:
    """Return the indices of two classes from what the lists sent, which anybody may have made up.

    Args:
        backbone: has the classes.
        logits: of the picture, (K,).
        first: a class's name; "" or None: the explained one.
        second: a class's name; "" or None: the most probable one but the first.
        explained: the class that the page explains; None: the top one.

    Raises:
        GroupCamError: there is no such class, both are the same, or there is only one.
    """
    top = int(logits.argmax()) if explained is None else explained
    one = _index_of(backbone, first, top)
    others = logits.clone()
    others[one] = -torch.inf
    other = _index_of(backbone, second, int(others.argmax()))
    if one == other:
        raise GroupCamError(say("questions.same_class", label=backbone.class_names[one]))
    return one, other


def _index_of(backbone: Backbone, value: Any, default: int) -> int:
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        raise GroupCamError(say("questions.no_class", value=shown(value)))
    return backbone.class_index_of(value)


def _heading(question: str, note: str = "") -> None:
    """Place a question, and what is to be said of it at once."""
    gr.Markdown(f"### {question}\n{note}")


def _class_list(label: str, default: tuple[str, str]) -> gr.Dropdown:
    return gr.Dropdown(
        [default],
        value=default[1],
        label=label,
        info=say("questions.search"),
        min_width=200,
        interactive=True,
    )


def _explained() -> tuple[str, str]:
    """Return the first list's entry for the class that the page explains."""
    return say("questions.explained"), ""


def _runner_up() -> tuple[str, str]:
    """Return the second list's entry for the most probable class but the first."""
    return say("questions.runner_up"), ""


def _way(text: str) -> gr.Button:
    """Return a button that leads to another tab."""
    return gr.Button(text, size="sm", min_width=150, scale=0)


def _why_no_run(choice: Choice | None, picture_id: str | None) -> str:
    """Return why there is no run to look at."""
    if picture_id is None:
        return say("questions.no_picture")
    return say("steps.no_run") if choice is None else say("steps.not_kept")
