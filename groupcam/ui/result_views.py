"""What a visitor asks of a finished run: other colours, one group."""

from typing import Any

import gradio as gr

from groupcam.language import say
from groupcam.ui import views
from groupcam.ui.layout import Layout
from groupcam.ui.payloads import payload_of, told
from groupcam.ui.runs import Choice, Run
from groupcam.ui.tabs import AT_ONCE, PRIVATE
from groupcam.ui.toasts import refusal
from groupcam.ui.workbench import Workbench

# What needs no server.
SET_OPACITY = "(a) => document.querySelector('#gc-viewer').style.setProperty('--heat-opacity', a)"
SET_LAYOUT = "(mode) => { document.querySelector('.gc-viewer').dataset.mode = mode }"


class ResultViews:
    """Callbacks that need no forward pass; they find the run by its choice."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench

    def wire(self, ui: Layout) -> None:
        """Connect what the Explain tab shows."""
        ui.masks.pick(
            self.show_group,
            [ui.choice, ui.color_map],
            ui.detail,
            trigger_mode="multiple",  # "once" would pass over a click while one is answered
            **AT_ONCE,
        )
        ui.opacity.change(
            None,
            ui.opacity,
            js=SET_OPACITY,
            **PRIVATE,
        )
        ui.layout.change(
            None,
            ui.layout,
            js=SET_LAYOUT,
            **PRIVATE,
        )
        ui.color_map.input(
            self.recolor,
            [ui.choice, ui.color_map],
            ui.viewer,
            trigger_mode="always_last",
            **AT_ONCE,
        )

    @told
    def show_group(self, choice: Choice | None, color_map: str, event: gr.EventData) -> Any:
        """Show the group whose mask was clicked."""
        run = self._kept(choice)
        group, count = payload_of(event).get("group"), run.explanation.config.groups
        if not isinstance(group, int) or isinstance(group, bool) or not 0 <= group < count:
            raise refusal(say("masks.unknown_group", groups=count))
        return views.mask_detail(run, group, color_map)

    @told
    def recolor(self, choice: Choice | None, color_map: str) -> Any:
        """Draw the map in other colours, without any forward pass."""
        run = self.workbench.run_of(choice)
        return gr.skip() if run is None else views.viewer(run, color_map)

    def _kept(self, choice: Choice | None) -> Run:
        """Return the run behind the page, or tell the visitor to make it again."""
        run = self.workbench.run_of(choice)
        if run is None:
            raise refusal(say("status.no_result"))
        return run
