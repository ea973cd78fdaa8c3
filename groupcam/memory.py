"""How the C library hands out memory, and whether an error means that it ran out."""

import ctypes
import os
import platform

import torch

# torch's and C++'s allocators for the CPU have no error class of their own.
SIGNS = ("DefaultCPUAllocator", "not enough memory", "bad_alloc")

M_ARENA_MAX = -8  # glibc, malloc.h
ARENAS = 2


def share_arenas() -> None:
    """Let all threads of this process share two arenas; call it before they are many.

    An app runs in dozens of threads, to which glibc gives up to eight arenas a core; what is
    freed in one, no other can use. With ten networks the page held 4.4 GB so, 3 with two arenas.
    Nothing happens where MALLOC_ARENA_MAX is set or the C library is another one.
    """
    if "MALLOC_ARENA_MAX" not in os.environ and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )
