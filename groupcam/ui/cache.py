"""What the page keeps between events: caches bounded in bytes, shared by all visitors."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteBoundedCache(Generic[Value]):
    """The values used last, as many as fit into a number of bytes. Safe for threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Value | None:
        """Return the value, which counts as used now, or None when it is not kept."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def find(self, is_wanted: Callable[[Value], bool]) -> Value | None:
        """Return the first wanted value, which counts as used now, or None."""
        with self._lock:
            keys = (key for key, (value, _) in self._entries.items() if is_wanted(value))
            found = next(keys, None)
            if found is None:
                return None
            self._entries.move_to_end(found)
            return self._entries[found][0]

    def put(self, key: Hashable, value: Value, size_bytes: int) -> None:
        """Keep a value; the ones not used for longest go until all fit. The newest stays."""
        with self._lock:
            self._entries[key] = (value, size_bytes)
            self._entries.move_to_end(key)
            used = sum(size for _, size in self._entries.values())
            while used > self._max_bytes and len(self._entries) > 1:
                _, (_, freed) = self._entries.popitem(last=False)
                used -= freed
