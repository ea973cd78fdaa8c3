"""Long work in turns: where others wait, the next in the line of model work has its go.

Gradio's line takes one event after the other. Work that takes a minute is therefore cut: an event
works for one turn and then ends with a word to the page, which sends the next event at once, to the
end of the line. Latest wins: a visitor's new work, or Stop, ends the old within a micro-batch.
"""

import functools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import gradio as gr
from gradio.context import Context

from groupcam.language import say
from groupcam.ui import components, views
from groupcam.ui.components import MODEL_QUEUE
from groupcam.ui.latest import MOST_VISITORS, LatestWins
from groupcam.ui.tabs import AT_ONCE, PRIVATE

TURN_S = 2.0
MOST_PAUSED = 64  # visitors' works between two turns; each may hold a network's activations
RETRY_S = 5.0  # until a turn that the full line refused is asked for again

Result = TypeVar("Result")
Updates = dict[Any, Any]
Work = Generator[Updates, None, None]
"""Yields what changes on the page after every micro-batch, {} where nothing does."""

REST: Updates = {}
"""Yielded by work where others who wait should come first, however young the turn is."""


def resting(steps: Generator[Updates, None, Result]) -> Generator[Updates, None, Result]:
    """Pass on steps that wait, for a hub say; from the second on, others come first."""
    is_long = False
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield step
        if is_long:
            yield REST
        is_long = True


class Turns:
    """One kind of work, at most one a visitor; its components must be made inside the page."""

    def __init__(
        self, turn_s: float = TURN_S, *, latest: LatestWins | None = None, token: Any = None
    ) -> None:
        """Place the components, none of which is seen.

        Args:
            turn_s: seconds after which others have their go.
            latest: knows which work is the newest; None: this work has tokens of its own.
            token: the component that holds the token; None: a new one.
        """
        self._turn_s = turn_s
        self._latest = latest or LatestWins()
        self._paused: dict[str, tuple[int, Work]] = {}
        self._dropped: dict[str, int] = {}  # the tokens of work that had to go
        self._lock = threading.Lock()
        self.others_wait: Callable[[], bool] = lambda: True
        # In the browser, not a State: a queued event must see the token of its own work.
        self.token = token or gr.Number(None, visible=False)
        self.again = components.from_assets("again", {}, elem_classes="gc-unseen")

    def connect(
        self,
        status: Any,
        start: gr.Button,
        begin: Callable[..., Updates],
        begin_inputs: list[Any],
        stop: gr.Button,
        stopped: Callable[[], str],
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
            stopped: returns the status of work that was stopped.
            run: one turn, by `follow`; takes the token, then the inputs, raw.
            inputs: what else `run` takes.
            outputs: what `run` updates beside the status.
        """
        self.connect_turns(status, stopped, run, [self.token, *inputs], [status, *outputs])
        self.start_after(
            start.click(
                begin,
                begin_inputs,
                [self.token, status],
                trigger_mode="multiple",
                preprocess=False,
                **AT_ONCE,
            ).success
        )
        stop.click(self.stop_run, None, status, **AT_ONCE)

    def connect_turns(
        self,
        status: Any,
        stopped: Callable[[], str],
        run: Callable[..., Iterator[Updates | Any]],
        inputs: list[Any],
        outputs: list[Any],
        **options: Any,
    ) -> None:
        """Let turns follow each other.

        Args:
            status: the line that tells how far the work is, and how many are before it.
            stopped: returns the status of work that was stopped.
            run: one turn, by `follow`.
            inputs: what `run` takes, raw.
            outputs: what it updates, the status among them.
            options: of the turns' event, instead of those here.
        """
        self.status = status
        self.stopped = stopped
        app = Context.root_block
        assert app is not None  # components can be connected only inside a page
        self.others_wait = functools.partial(someone_waits, app)
        self._turn: dict[str, Any] = {
            "fn": run,
            "inputs": inputs,
            "outputs": [*outputs, self.again],
            "trigger_mode": "multiple",
            "concurrency_limit": 1,
            "concurrency_id": MODEL_QUEUE,
            "preprocess": False,
            **PRIVATE,
            "show_progress": "minimal",
            "show_progress_on": status,
            **options,
        }
        again = self.again.again(**self._turn)
        again.failure(self.ask_again, None, [self.again, status], **AT_ONCE)

    def start_after(self, listen: Callable[..., Any]) -> None:
        """Let the first turn begin at an event that comes when `token` is set."""
        first = listen(**self._turn)
        first.failure(self.refused, None, self.status, **AT_ONCE)

    def refused(self, request: gr.Request) -> str:
        """Say that the work was not taken: the line is full, or the server is being restarted."""
        self.stop(str(request.session_hash))
        return views.status(say("service.refused"), "error")

    def ask_again(self, request: gr.Request) -> Updates:
        """Let the page ask once more, in a while, for a turn that was refused."""
        if str(request.session_hash) in self._paused:
            return {self.again: {"turn": time.monotonic(), "in_s": RETRY_S}}
        return {self.status: views.status(say("service.refused"), "error")}

    def begin(self, session: str) -> int:
        """Return the token of new work; what the visitor had going is stale."""
        self.stop(session)
        token = self._latest.choose(session, ())
        assert token is not None  # the former choice is forgotten
        return token

    def stop_run(self, request: gr.Request) -> str:
        """Stop the visitor's work within one micro-batch; what is done stays."""
        self.stop(str(request.session_hash))
        return self.stopped()

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
            # A generator that ends before its first yield clears everything.
            yield self._farewell(session, token)
            return
        deadline = time.monotonic() + self._turn_s
        is_paused = has_shown = False
        try:
            for updates in work:
                if not self._latest.is_fresh(session, token):
                    # Said once more: reports on their way may arrive after the first time.
                    is_stopped = not self._latest.has_chosen(session)
                    yield {self.status: self.stopped()} if is_stopped else gr.skip()
                    return
                if (updates is REST or time.monotonic() > deadline) and self.others_wait():
                    self._pause(session, token, work)
                    is_paused = True
                    yield {**updates, self.again: {"turn": time.monotonic()}}
                    return
                if updates:
                    yield updates
                    has_shown = True
        finally:
            if not is_paused:
                work.close()
        if not has_shown:
            yield gr.skip()

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

    def _farewell(self, session: str, token: int | None) -> Updates | Any:
        """Return what is said where there is nothing to do: something only to who lost work."""
        with self._lock:
            if token is None or self._dropped.get(session) != token:
                return gr.skip()
            del self._dropped[session]
        self._latest.forget(session)  # so that the same choice may run again
        return {self.status: views.status(say("service.dropped"), "error")}

    def _pause(self, session: str, token: int, work: Work) -> None:
        """Keep work until its next turn; the oldest goes where there is too much."""
        with self._lock:
            self._paused[session] = (token, work)
            dropped = None
            if len(self._paused) > MOST_PAUSED:
                oldest = next(iter(self._paused))
                dropped_token, dropped = self._paused.pop(oldest)
                self._dropped[oldest] = dropped_token  # its visitor is told at the next turn
                if len(self._dropped) > MOST_VISITORS:
                    del self._dropped[next(iter(self._dropped))]
        if dropped is not None:
            dropped.close()


def someone_waits(app: gr.Blocks) -> bool:
    """Return whether an event waits for the line of model work."""
    line = app._queue.event_queue_per_concurrency_id.get(MODEL_QUEUE)
    return line is not None and len(line.queue) > 0
