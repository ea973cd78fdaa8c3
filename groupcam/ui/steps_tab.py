"""The Step by step tab: the run of the Explain tab, opened up; and its groups on and off.

Only the curves of some groups' map run a network. What a control here changes is the control on the
left, so both lead to the same run.
"""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.language import say
from groupcam.metrics.curves import PartialCurves
from groupcam.models import target_layers
from groupcam.saliency import CHOICES, GroupCamConfig
from groupcam.saliency.subset import map_of_groups
from groupcam.steps import relay
from groupcam.ui import components, curve_views, walkthrough_views
from groupcam.ui.event_log import log_accident
from groupcam.ui.layout import Layout
from groupcam.ui.payloads import check_controls, checked_text, payload_of, serial_of, told
from groupcam.ui.run_events import UPDATE_S
from groupcam.ui.runs import Choice, Run
from groupcam.ui.tabs import AT_ONCE, is_open
from groupcam.ui.toasts import refusal, warn
from groupcam.ui.turns import Turns, Updates, Work
from groupcam.ui.workbench import Workbench

ADJUSTED = ("groups", "grouping", "percentile", "blur_sigma_px", "merge")


class StepsTab:
    """What stands in the tab, and what its events do."""

    name = "steps"

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    @property
    def title(self) -> str:
        """Return what stands on the tab."""
        return say("steps.title")

    # --- layout ----------------------------------------------------------------------------------

    def place(self, ui: Layout) -> None:
        """Create the components."""
        self.turns = Turns()  # of the curves of some groups
        self.shown = gr.State(None)  # the choice and the colours that the steps are drawn for
        self.is_open = gr.Checkbox(False, visible=False)
        self.steps = components.from_assets(
            "steps",
            {"empty": say("steps.no_picture")},
            elem_id="gc-steps",
        )
        # Answers about one group, and a set of groups and its curves: the rest stays as it is.
        self.group = components.from_assets("answer", {}, elem_classes="gc-unseen")
        self.map = components.from_assets("answer", {}, elem_classes="gc-unseen")
        self.curves = components.from_assets("answer", {}, elem_classes="gc-unseen")

    # --- wiring ----------------------------------------------------------------------------------

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events."""
        present = [ui.choice, ui.picture_id, ui.color_map, self.shown]
        outputs = [self.steps, self.shown]
        opened.select(self.show, present, outputs, **AT_ONCE)
        ui.choice.change(
            self.follow,
            [*present, self.is_open],
            outputs,
            js=is_open(self.name),
            trigger_mode="always_last",
            **AT_ONCE,
        )
        asked: dict[str, Any] = {"trigger_mode": "multiple", **AT_ONCE}
        run = [ui.choice, ui.color_map]
        self.steps.choose(self.show_group, run, self.group, **asked)
        self.steps.switch(self.show_map, run, [self.map, self.turns.token], **asked)
        self.turns.connect_turns(
            status=ui.status,
            stopped=gr.skip,
            run=self.show_curves,
            inputs=[self.turns.token, ui.choice],
            outputs=[ui.status, self.curves],
            preprocess=True,  # the choice is a state
            show_progress="hidden",
        )
        self.turns.start_after(self.steps.trace)

    def adjusted(self, ui: Layout) -> Any:
        """Return the event after which a control on the left has a value that was set here."""
        self._settings = ui.settings
        self._layer = ui.layer
        controls = [
            ui.layer,
            ui.settings.is_denoised,
            *(ui.settings.by_field[name] for name in ADJUSTED),
        ]
        return self.steps.adjust(self.adjust, None, controls, trigger_mode="multiple", **AT_ONCE)

    # --- events ----------------------------------------------------------------------------------

    @told
    def follow(
        self,
        choice: Choice | None,
        picture_id: str | None,
        color_map: str,
        shown: Any,
        is_open: bool,
    ) -> Any:
        """Show a new run, if anybody is looking."""
        return self.show(choice, picture_id, color_map, shown) if is_open else gr.skip()

    @told
    def show(
        self, choice: Choice | None, picture_id: str | None, color_map: str, shown: Any
    ) -> Any:
        """Show the run of the Explain tab, unless it is shown already."""
        if choice is None:
            text = say("steps.no_picture") if picture_id is None else say("steps.no_run")
            return {self.steps: {"empty": text}}
        if shown == (choice, color_map):
            return gr.skip()
        run = self._workbench.run_of(choice)
        if run is None:
            return {self.steps: {"empty": say("steps.not_kept")}, self.shown: None}
        value = {**walkthrough_views.overview(run, color_map), "choices": self._choices(run)}
        return {self.steps: value, self.shown: (choice, color_map)}

    @told
    def show_group(self, choice: Choice | None, color_map: str, event: gr.EventData) -> Any:
        """Show the group that was chosen."""
        run, data = self._asked(choice, event)
        group = data.get("group")
        count = run.explanation.config.groups
        if not isinstance(group, int) or isinstance(group, bool) or not 0 <= group < count:
            raise refusal(say("steps.no_such_group", count=count))
        view = walkthrough_views.group_view(run, group, color_map)
        return {**view, "about": "group", "serial": serial_of(data)}

    @told
    def show_map(
        self, request: gr.Request, choice: Choice | None, color_map: str, event: gr.EventData
    ) -> Any:
        """Show the map of the groups that are on, without any forward pass."""
        run, data = self._asked(choice, event)
        groups = data.get("groups")
        if not isinstance(groups, list):
            raise refusal(say("steps.no_list_of_groups"))
        view = walkthrough_views.switched(run, groups, color_map)
        token = self.turns.begin(str(request.session_hash))  # what is drawn for other groups ends
        return {
            self.map: {**view, "about": "map", "serial": serial_of(data)},
            self.turns.token: token,
        }

    def show_curves(
        self, request: gr.Request, token: int | None, choice: Choice | None, event: gr.EventData
    ) -> Iterator[Updates | Any]:
        """Draw the curves of the groups that are on, one turn at a time."""
        session = str(request.session_hash)
        yield from self.turns.follow(session, token, lambda: self._trace(choice, event))

    def _trace(self, choice: Choice | None, event: gr.EventData) -> Work:
        """Draw the curves of the groups that are on, beside the run's own where it has them."""
        try:
            run, data = self._asked(choice, event)
            groups = data.get("groups")
            if not isinstance(groups, list):
                raise GroupCamError(say("steps.no_list_of_groups"))
            saliency_map, _ = map_of_groups(run.explanation, groups)
            whole = None if run.curves is None else curve_views.finished_points(run.curves)
            shared = {
                "about": "curves",
                "serial": serial_of(data),
                "run": walkthrough_views.run_id(run),
                "whole": whole,
            }
            next_report = 0.0

            def report(points: PartialCurves) -> Updates:
                nonlocal next_report
                if time.monotonic() < next_report:
                    return {}
                next_report = time.monotonic() + UPDATE_S
                shown = {**shared, **curve_views.curve_points(points), "complete": False}
                return {self.curves: shown}

            curves = yield from relay(self._workbench.curves_of(run, saliency_map), report)
            shown = {**shared, **curve_views.finished_points(curves), "complete": True}
            yield {self.curves: shown}
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            warn(str(error))
        except Exception as error:
            warn(log_accident("The curves of some groups failed.", error))

    @told
    def adjust(self, event: gr.EventData) -> Updates:
        """Hand a setting on to its control on the left; the run then follows from there."""
        data = payload_of(event)
        name, value = data.get("name"), data.get("value")
        if name == "is_denoised":
            return {self._settings.is_denoised: bool(value)}
        if name == "target_layer":
            return {self._layer: checked_text("The layer", value)}
        if name not in ADJUSTED or value is None:
            names = ", ".join(("target_layer", "is_denoised", *ADJUSTED))
            given = f"{shown(name)} = {shown(value)}"
            raise refusal(say("steps.no_such_setting", names=names, given=given))
        check_controls([value])
        setting: dict[str, Any] = {name: value}
        return {self._settings.by_field[name]: getattr(GroupCamConfig(**setting), name)}

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
        self.turns.stop(session)

    def _asked(self, choice: Choice | None, event: gr.EventData) -> tuple[Run, dict[str, Any]]:
        """Return the run behind the page, and what was asked about it."""
        run = self._workbench.run_of(choice)
        if run is None:
            raise GroupCamError(say("steps.not_kept"))
        return run, payload_of(event)

    def _choices(self, run: Run) -> dict[str, Any]:
        """Return the choices and ranges of the settings that can be changed here."""
        fields = {field.name: field.metadata for field in dataclasses.fields(GroupCamConfig)}
        here = run.explanation.target_layer
        backbone = self._workbench.kept(run.choice.backbone)
        listed = [] if backbone is None else target_layers(backbone)
        layers = [layer.name for layer in listed if layer.usable]
        return {
            "target_layer": layers if here in layers else [*layers, here],
            "grouping": list(CHOICES["grouping"]),
            "merge": list(CHOICES["merge"]),
            "least_sigma": fields["blur_sigma_px"]["minimum"],
        }
