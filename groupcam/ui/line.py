"""The line in which events wait for their turn: fair, bounded for each visitor, the only way in.

Gradio's own line is first come, first served, so one program that hands in fifty pictures makes
everybody wait for all of them. It also keeps answers that nobody fetches. It offers no place for
rules of one's own: hence a subclass, put in the place of the app's.
"""

import asyncio
import time
from collections import Counter
from typing import Any

import gradio as gr
from gradio.queueing import Event, Queue
from gradio.server_messages import EventMessage
from gradio.utils import LRUCache

MOST_WAITING = 64  # events of all visitors
MOST_EACH = 16  # of one visitor: the page has a few at once, and three more can fill no line
UNREAD_S = 120.0  # answers of which nobody takes one for so long are dropped


def line_up(demo: gr.Blocks, most_waiting: int = MOST_WAITING) -> gr.Blocks:
    """Return the app with the line of this module, through which every event has to go.

    Args:
        demo: the app, not yet launched.
        most_waiting: events; who comes to a full line gets HTTP 503.
    """
    # Closed: a POST to /gradio_api/run/... would run networks beside the line, many at once.
    demo.queue(max_size=most_waiting, api_open=False)
    queue = demo._queue
    queue.__class__ = Line
    queue.pending_messages_per_session = AllUnread(queue.pending_messages_per_session.max_size)
    return demo


class Line(Queue):
    """Gradio's queue with fair turns; made by `line_up`."""

    async def push(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, Any]:
        """Let an event wait, unless its visitor has too many that do already."""
        await self._drop_unread()
        waiting = sum(
            event.session_hash == body.session_hash
            for line in self.event_queue_per_concurrency_id.values()
            for event in line.queue
        )
        if waiting >= MOST_EACH:
            told = f"A visitor may have at most {MOST_EACH} requests waiting; {waiting} wait."
            return False, f"{told} Ask again when some are answered.", "queue_full"
        pushed: tuple[bool, Any, Any] = await super().push(body, request, username)
        return pushed

    def create_event_queue_for_fn(self, block_fn: Any) -> None:
        """Make the line of a kind of events, unless there is one."""
        super().create_event_queue_for_fn(block_fn)
        line = self.event_queue_per_concurrency_id[block_fn.concurrency_id]
        if not isinstance(line.queue, FairOrder):
            line.queue = FairOrder(line.queue)

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Keep a message until its visitor fetches it; one who is gone gets none."""
        if event.session_hash not in self.pending_messages_per_session:
            event.alive = False  # ends its work at the next report
        super().send_message(event, event_message)

    async def _drop_unread(self) -> None:
        """Drop the answers, and end the work, of those who never ask for their answers."""
        for session, unread in list(self.pending_messages_per_session.items()):
            if isinstance(unread, Unread) and unread.age_s() > UNREAD_S:
                await self.clean_events(session_hash=session)
                self.pending_messages_per_session.pop(session, None)
        # Gradio keeps an entry here for every visitor there ever was.
        for session in set(self.pending_event_ids_session) - set(self.pending_messages_per_session):
            del self.pending_event_ids_session[session]


class FairOrder(list[Event]):
    """Waiting events; a visitor's second comes after everybody's first, and so on."""

    def append(self, event: Event) -> None:
        """Put an event where it is its visitor's turn."""
        own = sum(one.session_hash == event.session_hash for one in self)
        before: Counter[str] = Counter()
        for place, one in enumerate(self):
            if before[one.session_hash] > own:
                self.insert(place, event)
                return
            before[one.session_hash] += 1
        super().append(event)


class Unread(asyncio.Queue[EventMessage]):
    """A visitor's messages, which know how long the oldest has waited at least."""

    _since = 0.0

    def age_s(self) -> float:
        """Return for how many seconds messages have waited and none was taken."""
        return 0.0 if self.empty() else time.monotonic() - self._since

    def put_nowait(self, item: EventMessage) -> None:
        """Keep a message."""
        if self.empty():
            self._since = time.monotonic()
        super().put_nowait(item)

    async def get(self) -> EventMessage:
        """Take the oldest message."""
        message = await super().get()
        self._since = time.monotonic()
        return message


class AllUnread(LRUCache[str, asyncio.Queue[EventMessage]]):
    """The messages of every visitor, each in an `Unread`."""

    def __setitem__(self, session: str, _plain: asyncio.Queue[EventMessage]) -> None:
        """Begin to keep a visitor's messages."""
        super().__setitem__(session, Unread())
