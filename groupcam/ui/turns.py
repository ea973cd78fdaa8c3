"""Long work in turns: after a few seconds the next in the line of model work has its go.

Gradio's line takes one event after the other. Work that takes a minute is therefore cut: an event
works for one turn and then ends with a word to the page, which sends the next event at once, to the
end of the line. Latest wins: a visitor's new work, or Stop, ends the old within a micro-batch.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import gradio as gr

from groupcam.ui import components
from groupcam.ui.components import MODEL_QUEUE
from groupcam.ui.latest import LatestWins
from groupcam.ui.tabs import AT_ONCE, PRIVATE

TURN_S = 2.0
MOST_PAUSED = 64  # visitors' works between two turns; each may hold a network's activations

Updates = dict[Any, Any]
Work = Generator[Updates, None, None]
"""Yields what changes on the page after every micro-batch, {} where nothing does."""


class Turns:
    """One kind of work, at most one a visitor; its components must be made inside the page."""

    def __init__(self, turn_s: float = TURN_S) -> None:
        """Place the components, none of which is seen.

        Args:
            turn_s: seconds after which others have their go.
        """
        self._turn_s = turn_s
        self._latest = LatestWins()
        self._paused: dict[str, tuple[int, Work]] = {}
        self._lock = threading.Lock()
        # In the browser, not a State: a queued event must see the token of its own work.
        self.token = gr.Number(None, visible=False)
        self.again = components.from_assets("again", {}, elem_classes="gc-unseen")

    def connect(
        self,
        status: Any,
        start: gr.Button,
        begin: Callable[..., Updates],
        begin_inputs: list[Any],
        stop: gr.Button,
        stop_run: Callable[..., str],
        run: Callable[..., Iterator[Updates | Any]],
        inputs: list[Any],
        outputs: list[Any],
    ) -> None:
        """Connect the buttons that begin and stop the work, and its turns.

        Args:
            status: the line that tells how far the work is; it alone shows that something runs.
            start: the button that begins.
            begin: its event; sets `token` and the status.
            begin_inputs: what `begin` takes, raw.
            stop: the button that stops.
            stop_run: its event; returns the status.
            run: one turn, by `follow`; takes the token, then the inputs, raw.
            inputs: what else `run` takes.
            outputs: what `run` updates beside the status.
        """
        turn: dict[str, Any] = {
            "fn": run,
            "inputs": [self.token, *inputs],
            "outputs": [status, *outputs, self.again],
            "trigger_mode": "multiple",
            "concurrency_limit": 1,
            "concurrency_id": MODEL_QUEUE,
            "preprocess": False,
            **PRIVATE,
        }
        first = {**turn, "show_progress": "minimal", "show_progress_on": status}
        start.click(
            begin,
            begin_inputs,
            [self.token, status],
            trigger_mode="multiple",
            preprocess=False,
            **AT_ONCE,
        ).success(**first)
        self.again.again(**turn)
        stop.click(stop_run, None, status, **AT_ONCE)

    def begin(self, session: str) -> int:
        """Return the token of new work; what the visitor had going is stale."""
        self.stop(session)
        token = self._latest.choose(session, ())
        assert token is not None  # the former choice is forgotten
        return token

    def stop(self, session: str) -> None:
        """Make the visitor's work stale, and drop it if it waits for its next turn."""
        self._latest.forget(session)
        with self._lock:
            paused = self._paused.pop(session, None)
        if paused is not None:
            paused[1].close()

    def follow(
        self, session: str, token: int | None, start: Callable[[], Work]
    ) -> Iterator[Updates | Any]:
        """Do one turn of the work that the token stands for, as updates of the page.

        Args:
            session: the visitor's.
            token: from `begin`.
            start: begins the work, at its first turn.
        """
        work = None if token is None else self._take_up(session, token, start)
        if work is None or token is None:
            yield gr.skip()  # a generator that ends before its first yield clears everything
            return
        deadline = time.monotonic() + self._turn_s
        is_paused = False
        try:
            for updates in work:
                if not self._latest.is_fresh(session, token):
                    yield gr.skip()
                    return
                if time.monotonic() > deadline:
                    self._pause(session, token, work)
                    is_paused = True
                    yield {**updates, self.again: {"turn": time.monotonic()}}
                    return
                if updates:
                    yield updates
        finally:
            if not is_paused:
                work.close()
        yield gr.skip()  # there may have been nothing to show at all

    def _take_up(self, session: str, token: int, start: Callable[[], Work]) -> Work | None:
        """Return the visitor's work: new, or where its last turn left it. None: it is stale."""
        if not self._latest.is_fresh(session, token):
            return None
        with self._lock:
            paused = self._paused.pop(session, None)
        if paused is not None:
            if paused[0] == token:
                return paused[1]
            paused[1].close()
        return start() if self._latest.claim(session, token) else None

    def _pause(self, session: str, token: int, work: Work) -> None:
        """Keep work until its next turn; the oldest goes where there is too much."""
        with self._lock:
            self._paused[session] = (token, work)
            dropped = None
            if len(self._paused) > MOST_PAUSED:
                dropped = self._paused.pop(next(iter(self._paused)))
        if dropped is not None:
            dropped[1].close()
