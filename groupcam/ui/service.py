"""What an operator needs of a running page: its health, and a stop that loses nothing."""

import contextlib
import functools
import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import groupcam
from groupcam.language import say
from groupcam.saliency import engine
from groupcam.ui.event_log import log_event
from groupcam.ui.toasts import refusal

PATIENCE_S = 30.0  # for running work, after a stop was asked for


class Service:
    """The work that runs now and whether more may come; one for all pages of an app."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._idle = threading.Condition()
        self._running = 0
        self._outcomes = {"done": 0, "left": 0, "failed": 0}
        self._is_stopping = threading.Event()

    @property
    def routes(self) -> list[Route]:
        """Return the addresses beside the page: GET /health."""
        return [Route("/health", self._answer)]

    def health(self) -> dict[str, Any]:
        """Return what /health says, as JSON can hold it."""
        return {
            "status": "stopping" if self._is_stopping.is_set() else "ok",
            "version": groupcam.__version__,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "preparing": engine.is_preparing(),
            "running": self._running,
            **self._outcomes,
        }

    def _answer(self, _request: Request) -> JSONResponse:
        """Answer 503 while stopping, so that a proxy sends visitors elsewhere."""
        return JSONResponse(self.health(), 503 if self._is_stopping.is_set() else 200)

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return an event that is counted and logged, and not begun while the app stops."""
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
                with (
                    self._counted(function.__name__),
                    contextlib.closing(function(*args, **kwargs)) as found,
                ):
                    yield from found

            return steps

        @functools.wraps(function)
        def once(*args: Any, **kwargs: Any) -> Any:
            with self._counted(function.__name__):
                return function(*args, **kwargs)

        return once

    @contextlib.contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        with self._idle:
            if self._is_stopping.is_set():
                raise refusal(say("service.stopping"))
            self._running += 1
        begin = time.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except GeneratorExit:  # the visitor left, or asked anew
            outcome = "left"
            raise
        finally:
            with self._idle:
                self._running -= 1
                self._outcomes[outcome] += 1
                self._idle.notify_all()
            log_event(name, outcome=outcome, seconds=round(time.monotonic() - begin, 3))

    def wait_for_stop(self) -> None:
        """Wait for SIGTERM or SIGINT; a second one ends the process at once."""
        asked = threading.Event()

        def ask(number: int, _frame: object) -> None:
            signal.signal(number, signal.SIG_DFL)
            asked.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)
        while not asked.wait(1.0):  # a wait without end would hide the signal on some systems
            pass

    def stop(self, patience_s: float = PATIENCE_S) -> bool:
        """Let no more work begin, and wait for what runs.

        Args:
            patience_s: seconds at most.

        Returns:
            Whether all of it ended.
        """
        self._is_stopping.set()
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, patience_s)
