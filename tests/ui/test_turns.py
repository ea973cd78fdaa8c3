from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from groupcam.ui.turns import REST, Turns, Work, resting

SKIP = gr.skip()


class Log:
    """Work of four steps that notes how far it came and whether it was closed."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.closed = 0

    def __call__(self) -> Work:
        try:
            for step in range(4):
                self.done.append(step)
                yield {"step": step} if step % 2 == 0 else {}
        finally:
            self.closed += 1


@pytest.fixture
def turns() -> Iterator[Turns]:
    """Turns of one step each."""
    with gr.Blocks():
        yield Turns(turn_s=0)


@pytest.fixture
def log() -> Log:
    return Log()


def take(turns: Turns, token: int | None, log: Log) -> list[Any]:
    """Return all updates of one turn."""
    return list(turns.follow("visitor", token, log))


def test_work_goes_on_where_its_last_turn_left_it(turns: Turns, log: Log) -> None:
    token = turns.begin("visitor")

    seen = [take(turns, token, log) for _ in range(5)]

    assert log.done == [0, 1, 2, 3]
    assert [update[0].get("step") for update in seen[:4]] == [0, None, 2, None]
    assert all(turns.again in updates[-1] for updates in seen[:4])
    assert seen[4] == [SKIP]
    assert log.closed == 1


def test_every_turn_ends_with_another_word_to_the_page(turns: Turns, log: Log) -> None:
    token = turns.begin("visitor")

    words = [take(turns, token, log)[-1][turns.again]["turn"] for _ in range(4)]

    assert len(set(words)) == 4


def test_a_long_turn_shows_only_what_changes(log: Log) -> None:
    with gr.Blocks():
        turns = Turns(turn_s=60)

    updates = take(turns, turns.begin("visitor"), log)

    assert updates == [{"step": 0}, {"step": 2}]


@pytest.mark.parametrize("how", ["stop", "begin"])
def test_stop_and_new_work_drop_what_waits(turns: Turns, log: Log, how: str) -> None:
    token = turns.begin("visitor")
    take(turns, token, log)

    getattr(turns, how)("visitor")

    assert log.closed == 1
    assert take(turns, token, log) == [SKIP]
    assert log.done == [0]


def test_stop_ends_work_at_its_next_step(log: Log) -> None:
    with gr.Blocks():
        turns = Turns(turn_s=60)
    turns.status, turns.stopped = "status", lambda: "Stopped."
    updates = turns.follow("visitor", turns.begin("visitor"), log)
    next(updates)

    turns.stop("visitor")

    assert list(updates) == [{"status": "Stopped."}]
    assert log.done == [0, 1]
    assert log.closed == 1


def test_a_page_that_closes_in_a_turn_ends_the_work(log: Log) -> None:
    with gr.Blocks():
        turns = Turns(turn_s=60)
    updates: Any = turns.follow("visitor", turns.begin("visitor"), log)
    next(updates)

    updates.close()

    assert log.closed == 1


def test_visitors_do_not_stop_each_other(turns: Turns, log: Log) -> None:
    token = turns.begin("visitor")
    take(turns, token, log)

    turns.begin("another")
    turns.stop("another")

    take(turns, token, log)
    assert log.done == [0, 1]


def test_too_much_waiting_work_drops_the_oldest(
    turns: Turns, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groupcam.ui.turns.MOST_PAUSED", 1)
    take(turns, turns.begin("visitor"), log)

    list(turns.follow("another", turns.begin("another"), Log()))

    assert log.closed == 1


def test_who_lost_work_is_told_once_and_may_begin_again(
    turns: Turns, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groupcam.ui.turns.MOST_PAUSED", 1)
    turns.status = "status"
    token = turns.begin("visitor")
    take(turns, token, log)
    another = turns.begin("another")
    list(turns.follow("another", another, Log()))

    (told,) = take(turns, token, log)

    assert "Too much other work came in between" in told["status"]
    assert take(turns, token, log) == [SKIP]
    assert turns.again in list(turns.follow("another", another, Log()))[-1]
    take(turns, turns.begin("visitor"), log)
    assert log.done == [0, 0]


def test_nobody_rests_while_nobody_waits(turns: Turns, log: Log) -> None:
    turns.others_wait = lambda: False

    updates = take(turns, turns.begin("visitor"), log)

    assert updates == [{"step": 0}, {"step": 2}]


@pytest.mark.parametrize("others_wait", [True, False])
def test_work_rests_where_it_says_so_while_others_wait(others_wait: bool) -> None:
    with gr.Blocks():
        turns = Turns(turn_s=60)
    turns.others_wait = lambda: others_wait

    def work() -> Work:
        yield {"map": 1}
        yield REST
        yield {"curves": 2}

    updates = list(turns.follow("visitor", turns.begin("visitor"), work))

    assert updates[0] == {"map": 1}
    assert (turns.again in updates[-1]) == others_wait
    assert (updates[-1] == {"curves": 2}) != others_wait


def test_work_that_only_waits_rests_after_its_first_word() -> None:
    def loading() -> Generator[dict[str, int], None, str]:
        yield {"status": 1}
        yield {"status": 2}
        return "network"

    steps = resting(loading())
    seen = [next(steps), next(steps), next(steps)]

    assert seen == [{"status": 1}, {"status": 2}, {}]
    assert seen[2] is REST
    with pytest.raises(StopIteration, match="network"):
        next(steps)


def test_a_refused_turn_is_asked_for_again_while_its_work_waits(turns: Turns, log: Log) -> None:
    turns.status = "status"
    request: Any = SimpleNamespace(session_hash="visitor")
    take(turns, turns.begin("visitor"), log)

    word = turns.ask_again(request)[turns.again]
    refused = turns.refused(request)

    assert word["in_s"] > 0
    assert "too many visitors wait" in refused
    assert log.closed == 1
    assert turns.ask_again(request) == {"status": refused}


def test_no_token_does_nothing(turns: Turns, log: Log) -> None:
    assert take(turns, None, log) == [SKIP]
    assert log.done == []
