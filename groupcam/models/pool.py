"""Loaded backbones, shared by everybody: each loaded once, all of them bounded in bytes."""

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import NamedTuple

from groupcam.errors import Cancelled, GroupCamError
from groupcam.language import say
from groupcam.models.backbone import Backbone
from groupcam.models.hub import Progress

MOST_LOADING = 32  # backbones at once, most of which wait for a hub
ROOM_S = 60.0  # for networks that others still use to go
TICK_S = 0.25  # between reports of who waits


class BackboneKey(NamedTuple):
    """Everything that makes a backbone what it is."""

    name: str  # "library/architecture"
    weights: str | None = "default"  # a tag of the library, or None: random
    input_size: int | None = None  # side of the square input in pixels; None: the weights' own

    @property
    def text(self) -> str:
        """Return it for people, in the present language."""
        if self.weights is None:
            text = say("network.text_random", name=self.name)
        else:
            text = self.name if self.weights == "default" else f"{self.name}.{self.weights}"
        if self.input_size is None:
            return text
        return say("network.text_with_size", name=text, pixels=self.input_size)


Loader = Callable[[BackboneKey, Progress | None], Backbone]


class _Loading(Future[Backbone]):
    """What somebody is loading, and what was reported of it last."""

    def __init__(self, report: tuple[str, int, int]) -> None:
        super().__init__()
        self.report = report


class BackbonePool:
    """The most recently used backbones, as many as fit; who still uses one keeps it alive."""

    def __init__(self, load: Loader, max_bytes: int) -> None:
        """Begin empty.

        Args:
            load: loads a backbone; called once at a time for a key, in the caller's thread.
            max_bytes: of parameters and buffers of all that are kept. One backbone is kept whatever
                its size.
        """
        self._load = load
        self._max_bytes = max_bytes
        self._kept: OrderedDict[BackboneKey, Backbone] = OrderedDict()
        self._loading: dict[BackboneKey, _Loading] = {}
        self._lock = threading.Lock()
        self._alive: weakref.WeakSet[Backbone] = weakref.WeakSet()  # kept, or still in use
        self._is_building = threading.Lock()

    def __len__(self) -> int:
        """Return how many backbones are kept."""
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """Return the memory of all kept backbones."""
        with self._lock:
            return sum(map(size_of, self._kept.values()))

    def get(self, key: BackboneKey) -> Backbone | None:
        """Return a kept backbone, which counts as used now, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def load(self, key: BackboneKey, progress: Progress | None = None) -> Backbone:
        """Return a backbone, loaded unless it is kept or somebody is loading it already.

        Raises:
            GroupCamError: too many are being loaded.
            Exception: what loading raised; whoever waits for it gets the same error (not when it
                was cancelled: they load for themselves), and the next call tries again. What
                `progress` raises ends only this caller's wait.
        """
        mine = _Loading((say("status.loading", backbone=key.text), 0, 0))
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
                if key not in self._loading and len(self._loading) >= MOST_LOADING:
                    raise GroupCamError(say("network.too_many_loading", most=MOST_LOADING))
                others = self._loading.setdefault(key, mine)
            if others is mine:
                break
            while not wait([others], TICK_S).done:
                if progress is not None:
                    progress(*others.report)
            try:
                return others.result()
            except Cancelled:  # by whoever began, not by this caller
                continue

        def tell(text: str, done: int, total: int) -> None:
            mine.report = (text, done, total)
            if progress is not None:
                progress(text, done, total)

        try:
            backbone = self._load(key, tell)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._loading[key]
            self._alive.add(backbone)
            self._kept[key] = backbone
            self._let_go(0)
        mine.set_result(backbone)
        return backbone

    @contextmanager
    def room(self, needed_bytes: int, report: Callable[[], None]) -> Iterator[None]:
        """Make room for one more backbone and hold it: one is built at a time.

        Those that are kept go for it. Work that rests still holds others: all together have at
        most twice the bytes that are kept, or there is only this one.

        Args:
            needed_bytes: of the backbone that will be built inside.
            report: called several times a second while there is no room; what it raises ends it.

        Raises:
            GroupCamError: there is still none after `ROOM_S`.
        """
        deadline = time.monotonic() + ROOM_S
        while not self._is_building.acquire(timeout=TICK_S):
            _wait_on(report, deadline)
        try:
            while not self._has_room(needed_bytes):
                time.sleep(TICK_S)
                _wait_on(report, deadline)
            yield
        finally:
            self._is_building.release()

    def _has_room(self, needed_bytes: int) -> bool:
        """Let kept backbones go, and return whether there is room for what is needed."""
        with self._lock:
            self._let_go(needed_bytes)
            in_use = sum(map(size_of, list(self._alive)))
        return not in_use or in_use + needed_bytes <= 2 * self._max_bytes

    def _let_go(self, needed_bytes: int) -> None:
        """Drop what was not used for longest until what is needed fits; the newest stays."""
        while (
            len(self._kept) > 1
            and sum(map(size_of, self._kept.values())) + needed_bytes > self._max_bytes
        ):
            self._kept.popitem(last=False)


def _wait_on(report: Callable[[], None], deadline: float) -> None:
    report()
    if time.monotonic() > deadline:
        raise GroupCamError(say("network.no_room"))


def size_of(backbone: Backbone) -> int:
    """Return the bytes of a backbone's parameters and buffers."""
    network = backbone.network
    return sum(tensor.nbytes for tensor in [*network.parameters(), *network.buffers()])
