"""Work as a generator of steps that returns its result: how to end it, and how to pass it on."""

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
