"""Latest wins: a visitor's new choice makes the run in progress stale."""

import itertools
import threading
from collections.abc import Hashable

MOST_VISITORS = 10_000  # raw requests may make up sessions: the oldest choices go


class LatestWins:
    """Hands out one token per visitor and choice; only the newest is fresh."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._newest: dict[str, tuple[int, Hashable]] = {}
        self._claimed: dict[str, int] = {}
        self._lock = threading.Lock()

    def choose(self, session: str, choice: Hashable) -> int | None:
        """Return the token of a new choice, or None when the visitor's choice did not change."""
        with self._lock:
            if session in self._newest and self._newest[session][1] == choice:
                return None
            token = next(self._numbers)
            self._newest.pop(session, None)  # so that the newest choice stands last
            self._newest[session] = (token, choice)
            if len(self._newest) > MOST_VISITORS:
                oldest = next(iter(self._newest))
                del self._newest[oldest]
                self._claimed.pop(oldest, None)
            return token

    def claim(self, session: str, token: int) -> bool:
        """Return whether this run may start: its choice is the newest and did not start yet."""
        with self._lock:
            if not self.is_fresh(session, token) or self._claimed.get(session) == token:
                return False
            self._claimed[session] = token
            return True

    def is_fresh(self, session: str, token: int) -> bool:
        """Return whether no newer choice was made."""
        return self._newest.get(session, (0, None))[0] == token

    def has_chosen(self, session: str) -> bool:
        """Return whether the visitor has a choice; one who stopped or left has none."""
        return session in self._newest

    def forget(self, session: str) -> None:
        """Drop the visitor's choice: what runs is stale, and the same choice may run again."""
        with self._lock:
            self._newest.pop(session, None)
            self._claimed.pop(session, None)
