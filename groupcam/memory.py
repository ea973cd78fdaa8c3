"""Whether an error means that memory ran out."""

import torch

# torch's and C++'s allocators for the CPU have no error class of their own.
SIGNS = ("DefaultCPUAllocator", "not enough memory", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )
