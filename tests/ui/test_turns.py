from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from groupcam.ui.turns import Turns, Work

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

    assert updates == [{"step": 0}, {"step": 2}, SKIP]


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
    updates = turns.follow("visitor", turns.begin("visitor"), log)
    next(updates)

    turns.stop("visitor")

    assert list(updates) == [SKIP]
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


def test_no_token_does_nothing(turns: Turns, log: Log) -> None:
    assert take(turns, None, log) == [SKIP]
    assert log.done == []
