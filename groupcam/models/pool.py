"""Loaded backbones, shared by everybody: each loaded once, all of them bounded in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from groupcam.errors import Cancelled
from groupcam.language import say
from groupcam.models.backbone import Backbone
from groupcam.models.hub import Progress


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


class BackbonePool:
    """The most recently used backbones, as many as fit; who still uses one keeps it alive."""

    def __init__(self, load: Loader, max_bytes: int) -> None:
        """Begin empty.

        Args:
            load: loads a backbone; called once at a time for a key, in the caller's thread.
            max_bytes: of parameters and buffers in all. One backbone is kept whatever its size.
        """
        self._load = load
        self._max_bytes = max_bytes
        self._kept: OrderedDict[BackboneKey, Backbone] = OrderedDict()
        self._loading: dict[BackboneKey, Future[Backbone]] = {}
        self._lock = threading.Lock()

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
            Exception: what loading raised; whoever waits for it gets the same error (not when it
                was cancelled: they load for themselves), and the next call tries again.
        """
        mine: Future[Backbone] = Future()
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
                others = self._loading.setdefault(key, mine)
            if others is mine:
                break
            try:
                return others.result()
            except Cancelled:  # by whoever began, not by this caller
                continue
        try:
            backbone = self._load(key, progress)
        except BaseException as error:
            with self._lock:
                del self._loading[key]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._loading[key]
            self._kept[key] = backbone
            while len(self._kept) > 1 and sum(map(size_of, self._kept.values())) > self._max_bytes:
                self._kept.popitem(last=False)
        mine.set_result(backbone)
        return backbone


def size_of(backbone: Backbone) -> int:
    """Return the bytes of a backbone's parameters and buffers."""
    network = backbone.network
    return sum(tensor.nbytes for tensor in [*network.parameters(), *network.buffers()])
