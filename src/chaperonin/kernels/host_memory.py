"""How the C library keeps the memory of tensors that are no longer needed."""

import ctypes
from functools import cache

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""
_OWN_PAGES_BYTES = 256 << 10


@cache
def bound_heap() -> None:
    """Give every tensor from 256 KiB on pages of its own, which go back to the system with it.

    Left to itself, glibc moves this limit up to 32 MiB, and tensors below it share one heap. Batches differ in length,
    so what one leaves free fits no tensor of the next. Does nothing where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
