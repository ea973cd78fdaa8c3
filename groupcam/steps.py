"""Work as a generator of steps that returns its result: how to end it, and how to pass it on."""

import time
from collections.abc import Callable, Generator
from typing import TypeVar

Step = TypeVar("Step")
Shown = TypeVar("Shown")
Result = TypeVar("Result")


def finish(steps: Generator[object, None, Result]) -> Result:
    """Run a generator of steps to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


def relay(
    steps: Generator[Step, None, Result], show: Callable[[Step], Shown]
) -> Generator[Shown, None, Result]:
    """Yield what `show` makes of every step, and return the steps' own result."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield show(step)


def timed(
    steps: Generator[Step, None, Result], most_s: float, too_slow: Callable[[Step], Exception]
) -> Generator[Step, None, tuple[Result, float]]:
    """Pass steps on, and return their result with the seconds that they worked.

    Rests between the steps are not counted: others may have had their turn meanwhile.

    Args:
        steps: the work.
        most_s: seconds after which it is given up.
        too_slow: makes what is then raised, of the latest step.
    """
    elapsed_s = 0.0
    while True:
        started = time.perf_counter()
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value, elapsed_s + time.perf_counter() - started
        elapsed_s += time.perf_counter() - started
        if elapsed_s > most_s:
            steps.close()
            raise too_slow(step)
        yield step
