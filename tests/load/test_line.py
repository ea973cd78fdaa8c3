"""The line for the networks as visitors meet it over HTTP: full, left, shared."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from torch import Tensor, nn

from groupcam.models import Backbone, target_layers
from groupcam.ui import api, launch_options, line
from groupcam.ui.line import FairOrder, Line, line_up
from groupcam.ui.page import Page
from groupcam.ui.service import Service
from groupcam.ui.workbench import Workbench
from tests.load.visits import BusyError, Case, Site, Timing, Visitor

MOST_WAITING = 3
CASE = Case("curves", "cat", (("groups", 4),))


@dataclass
class Slow:
    """A network that takes its time, or waits for a word."""

    may_go: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0.0
    calls: int = 0

    def __call__(self, _module: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        self.calls += 1
        self.may_go.wait(60)
        time.sleep(self.seconds)


@pytest.fixture
def slow(tiny_cnn: Backbone) -> Iterator[Slow]:
    target_layers(tiny_cnn)
    slow = Slow()
    slow.may_go.set()
    tiny_cnn.network.register_forward_hook(slow)
    yield slow
    slow.may_go.set()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def demo(workbench: Workbench, service: Service, slow: Slow) -> Iterator[gr.Blocks]:
    demo = line_up(Page(workbench, service=service).build(), MOST_WAITING)
    demo.launch(prevent_thread_lock=True, server_name="127.0.0.1", quiet=True, **launch_options())
    yield demo
    slow.may_go.set()
    demo.close()


@pytest.fixture
def site(demo: gr.Blocks) -> Site:
    return Site(str(demo.local_url).rstrip("/"))


def wait_until(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_comes_to_a_full_line_is_told_and_all_others_are_answered(
    site: Site, slow: Slow, service: Service
) -> None:
    slow.may_go.clear()
    visitors = [Visitor(site) for _ in range(1 + MOST_WAITING)]
    events = []
    for visitor in visitors:
        events.append(visitor.join("curves", CASE))
        wait_until(lambda: service.health()["running"] == 1)

    with pytest.raises(BusyError, match=r"Queue is full\. Max size is 3"):
        Visitor(site).answer(CASE)

    slow.may_go.set()
    answers = [
        visitor.outcome(event, Timing()) for visitor, event in zip(visitors, events, strict=True)
    ]
    assert all(answer == answers[0] for answer in answers)
    assert Visitor(site).answer(CASE)[0] == answers[0]
    for visitor in visitors:
        visitor.close()


def test_the_work_of_a_caller_who_leaves_ends_with_the_micro_batch(
    site: Site, slow: Slow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SIGN_S", 0.0)
    slow.seconds = 0.1
    visitor = Visitor(site)
    visitor.join("curves", CASE)
    wait_until(lambda: slow.calls >= 3)

    visitor.leave_after(0.3)
    left_at = slow.calls
    wait_until(lambda: service.health()["running"] == 0, seconds=10)

    assert slow.calls - left_at <= 3  # what ran, and what began before the news came; of some 60
    assert service.health()["left"] == 1
    slow.seconds = 0.0
    assert Visitor(site).answer(CASE)[0]["class_label"]


def test_a_new_choice_ends_the_run_of_the_old_one(site: Site, slow: Slow) -> None:
    slow.seconds = 0.05
    page = Case("page", "cat", (("groups", 4),))
    other = Case("page", "espresso", (("groups", 4),))
    visitor = Visitor(site)

    answer, _ = visitor.ask_anew(page, other, 0.5)
    calls = slow.calls

    slow.seconds = 0.0
    assert answer == Visitor(site).answer(other)[0]
    whole = slow.calls - calls  # what one run takes, but for what is kept of the first
    assert calls < 2 * whole


def test_a_call_that_takes_too_long_is_given_up(
    site: Site, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CALL_S", 0.2)
    slow.seconds = 0.05
    visitor = Visitor(site)

    with pytest.raises(Exception, match=r"A call must be answered within 0 s"):
        visitor.answer(CASE)

    monkeypatch.setattr(api, "CALL_S", 60.0)
    slow.seconds = 0.0
    assert visitor.answer(CASE)[0]["insertion"]


def test_a_long_call_gives_way_where_others_wait(
    site: Site, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CALL_WAITED_FOR_S", 1.0)
    slow.seconds = 0.1
    long, other = Visitor(site), Visitor(site)
    event = long.join("curves", CASE)
    wait_until(lambda: slow.calls > 2)
    waiting = other.join("layers", Case("layers"))

    with pytest.raises(Exception, match="A call must be answered within 1 s, so that others"):
        long.outcome(event, Timing())

    assert other.outcome(waiting, Timing())
    slow.seconds = 0.0
    assert long.answer(CASE)[0]["insertion"]


def test_a_network_that_takes_long_to_fetch_holds_nobody_up(
    site: Site, workbench: Workbench, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = threading.Event()

    def fetch(name: str, **_: object) -> Backbone:
        assert name != "timm/slow" or arrived.wait(60)
        return tiny_cnn

    monkeypatch.setattr("groupcam.ui.workbench.load_backbone", fetch)
    monkeypatch.setattr(api, "LOAD_S", 0.2)
    case = Case("layers", "", (("backbone", "timm/slow"),))
    visitor = Visitor(site)

    with pytest.raises(Exception, match=r"timm/slow must be ready within 0 s; it is still being"):
        visitor.answer(case)

    assert visitor.answer(Case("layers"))[0]
    arrived.set()
    wait_until(lambda: len(workbench._pool) == 2)
    assert visitor.answer(case)[0]


def test_what_a_page_showed_is_not_kept_for_a_visitor_who_left(site: Site, demo: gr.Blocks) -> None:
    visitor = Visitor(site)
    with httpx.stream("GET", f"{site.url}/gradio_api/heartbeat/{visitor._session}", timeout=30):
        assert visitor.answer(CASE)[0]
        session = demo.state_holder.session_data[visitor._session]
        assert session.config_values

    wait_until(lambda: session.is_closed and not session.config_values)


@pytest.mark.parametrize("route", ["run", "api"])
def test_no_request_runs_a_network_beside_the_line(site: Site, slow: Slow, route: str) -> None:
    visitor = Visitor(site)
    before = slow.calls
    for name in ("curves", "run", "open_page"):
        body = {
            "data": site.call_inputs(CASE, None) if name == "curves" else [],
            "fn_index": site.events[name]["id"],
            "session_hash": "somebody",
        }
        answer = httpx.post(f"{site.url}/gradio_api/{route}/{name}", json=body, timeout=30)

        assert answer.status_code == 404
        assert "join the queue" in answer.text

    assert slow.calls == before
    assert visitor.answer(CASE)[0]


def test_one_visitor_cannot_fill_the_line(
    site: Site, slow: Slow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "MOST_EACH", 2)
    slow.may_go.clear()
    greedy = Visitor(site)
    events = [greedy.join("curves", CASE)]
    wait_until(lambda: service.health()["running"] == 1)
    events += [greedy.join("curves", CASE) for _ in range(2)]

    with pytest.raises(BusyError, match="at most 2 requests waiting; 2 wait"):
        greedy.join("curves", CASE)
    another = Visitor(site)
    event = another.join("curves", CASE)

    slow.may_go.set()
    assert another.outcome(event, Timing())
    assert all(greedy.outcome(event, Timing()) for event in events)


def test_a_visitors_second_request_comes_after_everybodys_first() -> None:
    order = FairOrder()
    for visitor in "AAABABCC":
        event: Any = SimpleNamespace(session_hash=visitor)
        order.append(event)

    assert "".join(event.session_hash for event in order) == "ABCABCAA"

    order.remove(order[0])  # its turn has come
    late: Any = SimpleNamespace(session_hash="D")
    order.append(late)

    assert "".join(event.session_hash for event in order) == "BCADBCAA"


def test_answers_that_nobody_fetches_are_dropped_and_their_work_ends(
    site: Site, demo: gr.Blocks, slow: Slow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "UNREAD_S", 0.5)
    monkeypatch.setattr(api, "SIGN_S", 0.0)
    slow.seconds = 0.2
    gone = Visitor(site)
    gone.join("curves", CASE)  # and never listens
    gone.join("curves", CASE)
    wait_until(lambda: slow.calls > 4)

    listening = Visitor(site)
    event = listening.join("layers", Case("layers"))
    assert listening.outcome(event, Timing())

    wait_until(lambda: service.health()["running"] == 0)
    assert service.health()["left"] == 1
    assert slow.calls < 40
    assert isinstance(demo._queue, Line)
    assert len(demo._queue) == 0
    assert list(demo._queue.pending_event_ids_session) == [listening._session]
    assert not [kept for kept in demo._queue.pending_messages_per_session.values() if kept.qsize()]


def test_a_page_that_waits_for_a_network_lets_others_go_first(
    site: Site, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, arrived = threading.Event(), threading.Event()

    def fetch(name: str, **_: object) -> Backbone:
        if name == "timm/slow":
            asked.set()
            assert arrived.wait(60)
        return tiny_cnn

    monkeypatch.setattr("groupcam.ui.workbench.load_backbone", fetch)
    page, other = Visitor(site), Visitor(site)
    found: list[BaseException | None] = []

    def look() -> None:
        try:
            page.see("?example=cat", ("timm/slow", "default"), curves=False, groups=4)
            found.append(None)
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    wait_until(asked.is_set)
    waited = []
    for _ in range(5):
        timing = other.answer(Case("layers"))[1]
        waited.append(timing.waited_s)

    arrived.set()
    thread.join(60)
    assert found == [None]
    assert max(waited) < 3  # of the 5 s of a page's turn
