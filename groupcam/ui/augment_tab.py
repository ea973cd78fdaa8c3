"""The Augmentation tab: what training would see of the picture and of some examples."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import numpy as np
import numpy.typing as npt

from groupcam.augment import AugmentConfig, Edge, Source
from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.images import open_picture
from groupcam.language import say
from groupcam.ui import components, views
from groupcam.ui.augment_views import Rows
from groupcam.ui.augmented import Seen, Working, augmented_steps
from groupcam.ui.event_log import log_accident
from groupcam.ui.layout import Layout
from groupcam.ui.present import read_choice
from groupcam.ui.run_events import UPDATE_S
from groupcam.ui.runs import Loading
from groupcam.ui.turns import Turns, Updates, Work
from groupcam.ui.workbench import Workbench

EXAMPLES = ("cat", "espresso", "rocket", "photographer")  # that ImageNet's networks recognise
ALSO_SHOWN = 3  # of these, beside the visitor's picture


class AugmentTab:
    """What stands in the tab, and what its events do."""

    name = "augmentation"

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._random = random.SystemRandom()

    @property
    def title(self) -> str:
        """Return what stands on the tab."""
        return say("augmentation.title")

    # --- layout ----------------------------------------------------------------------------------

    def place(self, ui: Layout) -> None:
        """Create the components."""
        self.turns = Turns()
        default = AugmentConfig()
        gr.Markdown(say("augmentation.introduction"), elem_classes="gc-quiet")
        with gr.Row():
            self.source = gr.Radio(
                [(say(f"augmentation.source_{name}"), name) for name in get_args(Source)],
                value=default.source,
                label=say("augmentation.source"),
                interactive=True,
                min_width=280,  # below each other on a phone
            )
            self.edge = gr.Radio(
                [(say(f"augmentation.edge_{name}"), name) for name in get_args(Edge)],
                value=default.edge,
                label=say("augmentation.edge"),
                interactive=True,
                min_width=280,  # below each other on a phone
            )
        self.probability = gr.Slider(
            0,
            1,
            value=default.probability,
            step=0.05,
            label=say("augmentation.probability"),
            info=say("augmentation.probability_help"),
            interactive=True,
        )
        with gr.Row():
            self.show = gr.Button(
                say("augmentation.start"), variant="primary", size="sm", min_width=90
            )
            self.stop = gr.Button(say("augmentation.stop"), size="sm", min_width=90)
        self.status = gr.HTML(views.status(say("augmentation.ready")), elem_id="gc-augment-status")
        self.rows = components.from_assets("augmentation", {}, elem_id="gc-augmentation")

    # --- wiring ----------------------------------------------------------------------------------

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events."""
        self._ui = ui
        self.turns.connect(
            status=self.status,
            start=self.show,
            begin=self.begin,
            begin_inputs=[ui.picture_id],
            stop=self.stop,
            stopped=lambda: views.status(say("augmentation.stopped")),
            run=self.run,
            inputs=[self.source, self.edge, self.probability, *ui.present],
            outputs=[self.rows],
        )

    # --- events ----------------------------------------------------------------------------------

    def begin(self, request: gr.Request, picture_id: str | None) -> Updates:
        """Make new work the visitor's only one."""
        if picture_id is None:
            text = views.status(say("augmentation.no_picture"))
            return {self.turns.token: None, self.status: text}
        token = self.turns.begin(str(request.session_hash))
        text = views.status(say("augmentation.queued"), "busy")
        return {self.turns.token: token, self.status: text}

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
        self.turns.stop(session)

    def run(
        self, request: gr.Request, token: int | None, source: str, edge: str, *values: Any
    ) -> Iterator[Updates | Any]:
        """Augment the pictures, one turn at a time, as updates of the page."""
        session = str(request.session_hash)
        yield from self.turns.follow(session, token, lambda: self._work(source, edge, *values))

    def _work(
        self, source: Any, edge: Any, probability: Any, picture_id: str, *present: Any
    ) -> Work:
        """Augment what the controls say, as updates of the page."""
        try:
            config = AugmentConfig(source, probability, edge)
            choice = read_choice(self._ui.settings, picture_id, *present)
            others = self._others(picture_id)
            rows = Rows(1 + len(others), config.probability)
            seed = self._random.getrandbits(32)
            next_report = 0.0
            for event in augmented_steps(self._workbench, choice, config, others, seed):
                if isinstance(event, Seen):
                    rows.add(event)
                    yield {self.rows: rows.value, self.status: _status_of(None, rows)}
                elif time.monotonic() >= next_report:
                    next_report = time.monotonic() + UPDATE_S
                    yield {self.status: _status_of(event, rows)}
                else:
                    yield {}
            # All once more: of updates in quick succession a busy browser may miss one.
            yield {self.rows: rows.value, self.status: views.status(rows.summary, "done")}
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            yield {self.status: views.status(str(error), "error")}
        except Exception as error:
            yield {self.status: views.status(log_accident("Augmenting failed.", error), "error")}

    def _others(self, picture_id: str) -> list[npt.NDArray[np.uint8]]:
        """Return some of the example pictures, all but the visitor's own."""
        paths: list[Path] = [path for path in components.EXAMPLES if path.stem in EXAMPLES]
        paths.sort(key=lambda path: EXAMPLES.index(path.stem))
        known = [path for path in paths if self._workbench.add_picture(path)[0] != picture_id]
        return [open_picture(path).rgb for path in known[:ALSO_SHOWN]]


def _status_of(event: Loading | Working | None, rows: Rows) -> str:
    """Return the status line while pictures are augmented."""
    if isinstance(event, Loading):
        return views.loading_status(event)
    part = rows.done + (0 if event is None else event.done / max(1, event.total))
    text = say("augmentation.working", done=rows.done, total=rows.count)
    return views.status(text, "busy", round(100 * part), 100 * rows.count)
