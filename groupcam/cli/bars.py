"""Progress bars on the error stream; none where that is not a terminal."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

Step = TypeVar("Step")
Result = TypeVar("Result")


def run_with_bar(
    what: str, steps: Generator[Step, None, Result], progress_of: Callable[[Step], tuple[int, int]]
) -> Result:
    """Run a generator of steps to its end, with a bar, and return its result.

    Args:
        what: the words before the bar.
        steps: the work.
        progress_of: gives (done, in all) for a step.
    """
    bar: tqdm[Any] | None = None
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            done, total = progress_of(step)
            if bar is None:  # not before the first step: an early error then stands alone
                bar = tqdm(desc=what, total=total, disable=None)
            bar.update(done - bar.n)
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def download_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function to report bytes to: (what is done, bytes done, bytes in all or 0)."""
    bars: dict[str, tqdm[Any]] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(
                desc=what, total=total or None, unit="B", unit_scale=True, disable=None
            )
        bars[what].update(done - bars[what].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()
