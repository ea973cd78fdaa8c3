"""Many visitors at once, each checked against the right answers, and how long they waited."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.load.visits import CASES, PATIENCE_S, BusyError, Case, Site, Timing, Visitor

# What visitors do, and how often.
ACTIONS = {
    "page": 15,
    "explain": 38,
    "predict": 15,
    "layers": 5,
    "curves": 6,
    "compare": 4,
    "leave": 8,
    "anew": 7,
}
THINKING_S = 1.0  # at most, between an answer and the next question
LEAVING_S = 1.5  # at most, between a question and going away
COLUMNS = ("answers", "waited p50", "p95", "served p50", "p95", "in all p50", "p95")


@dataclass
class Figures:
    """What became of all questions."""

    visitors: int
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)  # right, wrong, lost, busy, left
    timings: dict[str, list[Timing]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them; times in seconds."""
        every = [one for some in self.timings.values() for one in some]
        rows = {name: _row(some) for name, some in sorted(self.timings.items())}
        maps = [one.map_s for one in every if one.map_s is not None]
        return {
            "visitors": self.visitors,
            "seconds": round(self.seconds, 1),
            **{name: self.counts[name] for name in ("right", "wrong", "lost", "busy", "left")},
            "answers_per_minute": round(60 * len(every) / self.seconds, 1),
            "all": _row(every),
            **rows,
            "page_map_s": _percentiles(maps),
            "problems": self.problems,
        }


def right_answers(site: Site, cases: tuple[Case, ...] = CASES) -> dict[Case, Any]:
    """Return the answer to every case, asked one after the other."""
    visitor = Visitor(site)
    try:
        return {case: visitor.answer(case)[0] for case in cases}
    finally:
        visitor.close()


def crowd(
    site: Site,
    right: Mapping[Case, Any],
    visitors: int,
    seconds: float,
    seed: int = 0,
    actions: Mapping[str, int] = ACTIONS,
) -> Figures:
    """Let visitors come at once and ask for some time; everything begun is waited for."""
    figures = Figures(visitors)
    lock = threading.Lock()
    begun = time.monotonic()

    def visit(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        visitor = Visitor(site)
        while time.monotonic() < begun + seconds:
            kind = chance.choices(list(actions), list(actions.values()))[0]
            verdict, timing, problem = _ask(visitor, right, kind, chance)
            with lock:
                figures.counts[verdict] += 1
                if timing is not None:
                    figures.timings[kind].append(timing)
                if problem:
                    figures.problems.append(problem)
            if verdict == "lost":
                visitor.close()
                visitor = Visitor(site)
            time.sleep(chance.uniform(0, THINKING_S))
        visitor.close()

    threads = [
        threading.Thread(target=visit, args=[number], daemon=True) for number in range(visitors)
    ]
    for thread in threads:
        thread.start()
    deadline = begun + seconds + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    missing = sum(thread.is_alive() for thread in threads)
    figures.counts["lost"] += missing
    figures.problems += ["An answer did not come at all."] * missing
    figures.seconds = time.monotonic() - begun
    return figures


def _ask(
    visitor: Visitor, right: Mapping[Case, Any], kind: str, chance: random.Random
) -> tuple[str, Timing | None, str]:
    """Do one thing; return what became of it, how long it took and what is wrong with it."""

    def some(*endpoints: str) -> Case:
        return chance.choice([case for case in right if case.endpoint in endpoints])

    try:
        if kind == "leave":
            visitor.leave(some("page", "curves"), chance.uniform(0, LEAVING_S))
            return "left", None, ""
        if kind == "anew":
            case = some("page")
            answer, timing = visitor.ask_anew(some("page"), case, chance.uniform(0, LEAVING_S))
        else:
            case = some(kind)
            answer, timing = visitor.answer(case)
    except BusyError:
        return "busy", None, ""
    except Exception as error:  # whatever it is, the visitor has no answer
        return "lost", None, f"{kind}: {type(error).__name__}: {error}"
    if answer == right[case]:
        return "right", timing, ""
    return "wrong", timing, f"{kind}: {case} had another answer than before."


def table(summaries: list[dict[str, Any]]) -> str:
    """Return the figures as lines of text."""
    lines = []
    for summary in summaries:
        lines += [
            "",
            f"{summary['visitors']} visitor(s), {summary['seconds']} s: "
            + ", ".join(
                f"{summary[name]} {name}" for name in ("right", "wrong", "lost", "busy", "left")
            )
            + f"; {summary['answers_per_minute']} answers a minute",
            f"{'seconds':10}" + "".join(f"{name:>12}" for name in COLUMNS),
        ]
        for name in ("all", *(kind for kind in ACTIONS if kind in summary)):
            row = summary[name]
            numbers = [*row["waited_s"], *row["served_s"], *row["in_all_s"]]
            lines.append(
                f"{name:10}{row['answers']:12d}" + "".join(f"{value:12.2f}" for value in numbers)
            )
        p50, p95 = summary["page_map_s"]
        lines.append(f"a page's map was there after {p50:.2f} s (p50), {p95:.2f} s (p95)")
    return "\n".join(lines).lstrip("\n")


def _row(timings: list[Timing]) -> dict[str, Any]:
    waited = np.array([one.waited_s for one in timings])
    served = np.array([one.served_s for one in timings])
    return {
        "answers": len(timings),
        "waited_s": _percentiles(waited),
        "served_s": _percentiles(served),
        "in_all_s": _percentiles(waited + served),
    }


def _percentiles(values: npt.ArrayLike) -> list[float]:
    """Return the 50th and the 95th, 0 of nothing."""
    numbers = np.asarray(values, dtype=float)
    return (
        [round(float(one), 3) for one in np.percentile(numbers, (50, 95))]
        if numbers.size
        else [0.0, 0.0]
    )
