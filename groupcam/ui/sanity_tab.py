"""The Sanity tab: what the map would be if the network had been random."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.language import say
from groupcam.saliency.methods import METHODS
from groupcam.ui import cascade, components, views
from groupcam.ui.cascade import Forgotten, Trained, Working, cascade_steps
from groupcam.ui.event_log import log_accident
from groupcam.ui.layout import Layout
from groupcam.ui.present import read_choice
from groupcam.ui.run_events import UPDATE_S
from groupcam.ui.runs import Loading
from groupcam.ui.sanity_views import Scrubber
from groupcam.ui.turns import Turns, Updates, Work
from groupcam.ui.workbench import Workbench


class SanityTab:
    """What stands in the tab, and what its events do."""

    name = "sanity"

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    @property
    def title(self) -> str:
        """Return what stands on the tab."""
        return say("sanity.title")

    # --- layout ----------------------------------------------------------------------------------

    def place(self, ui: Layout) -> None:
        """Create the components."""
        self.turns = Turns()
        gr.Markdown(say("sanity.introduction"), elem_classes="gc-quiet")
        self.method = gr.Radio(
            [(METHODS[name].title, name) for name in cascade.METHODS],
            value=cascade.METHODS[0],
            label=say("sanity.method"),
            interactive=True,
        )
        with gr.Row():
            self.randomise = gr.Button(
                say("sanity.start"), variant="primary", size="sm", min_width=90
            )
            self.stop = gr.Button(say("sanity.stop"), size="sm", min_width=90)
        self.status = gr.HTML(views.status(say("sanity.ready")), elem_id="gc-sanity-status")
        self.scrubber = components.from_assets("sanity", {}, elem_id="gc-sanity")

    # --- wiring ----------------------------------------------------------------------------------

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events."""
        self._ui = ui
        self.turns.connect(
            status=self.status,
            start=self.randomise,
            begin=self.begin,
            begin_inputs=[ui.picture_id],
            stop=self.stop,
            stopped=lambda: views.status(say("sanity.stopped")),
            run=self.run,
            inputs=[ui.color_map, self.method, *ui.present],
            outputs=[self.scrubber],
        )

    # --- events ----------------------------------------------------------------------------------

    def begin(self, request: gr.Request, picture_id: str | None) -> Updates:
        """Make a new check the visitor's only one."""
        if picture_id is None:
            return {self.turns.token: None, self.status: views.status(say("sanity.no_picture"))}
        token = self.turns.begin(str(request.session_hash))
        text = views.status(say("sanity.queued"), "busy")
        return {self.turns.token: token, self.status: text}

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
        self.turns.stop(session)

    def run(
        self, request: gr.Request, token: int | None, color_map: str, method: str, *values: Any
    ) -> Iterator[Updates | Any]:
        """Randomise and explain, one turn at a time, as updates of the page."""
        session = str(request.session_hash)
        yield from self.turns.follow(session, token, lambda: self._work(color_map, method, *values))

    def _work(self, color_map: str, method: str, picture_id: str, *present: Any) -> Work:
        """Randomise and explain what the controls say, as updates of the page."""
        try:
            if method not in cascade.METHODS:
                names = ", ".join(cascade.METHODS)
                raise GroupCamError(say("sanity.unknown_method", names=names, given=shown(method)))
            choice = read_choice(self._ui.settings, picture_id, *present)
            scrubber: Scrubber | None = None
            next_report = 0.0
            for event in cascade_steps(self._workbench, choice, method):
                if isinstance(event, Trained):
                    scrubber = Scrubber(event, METHODS[method].title, color_map)
                    yield {self.scrubber: scrubber.value}
                elif isinstance(event, Forgotten):
                    assert scrubber is not None  # the trained network comes first
                    scrubber.add(event)
                    yield {self.scrubber: scrubber.value}
                elif time.monotonic() >= next_report:
                    next_report = time.monotonic() + UPDATE_S
                    yield {self.status: _status_of(event, scrubber)}
                else:
                    yield {}
            assert scrubber is not None
            yield {self.status: views.status(scrubber.verdict, "done")}
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            yield {self.status: views.status(str(error), "error")}
        except Exception as error:
            yield {
                self.status: views.status(log_accident("A sanity check failed.", error), "error")
            }


def _status_of(event: Loading | Working, scrubber: Scrubber | None) -> str:
    """Return the status line while maps are made."""
    if isinstance(event, Loading):
        return views.loading_status(event)
    if scrubber is None:
        return views.working_status(say("sanity.trained_map"), event.done, event.total)
    part = scrubber.done + (event.done / event.total if event.total else 0)
    text = say("sanity.randomising", done=scrubber.done, total=scrubber.total)
    return views.status(text, "busy", round(100 * part), 100 * scrubber.total)
