"""float32 that is float32: PyTorch lets a GPU's convolutions drop 13 of its 23 bits by default."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_inside = 0  # threads, which share the settings of the process
_before: list[str] = []


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 without TensorFloat-32 on a GPU, until the last thread inside has left.

    The settings are the process's: other networks are exact meanwhile too. They come back as they
    were, also after an error. May be nested; costs microseconds.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _before[:] = [part.fp32_precision for part in _parts()]
            for part in _parts():
                part.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for part, precision in zip(_parts(), _before, strict=True):
                    part.fp32_precision = precision


def _parts() -> list[Any]:
    backends: Any = torch.backends  # its type names no cudnn.conv
    return [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
