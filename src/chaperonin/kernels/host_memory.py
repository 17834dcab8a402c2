"""How the C library and oneDNN keep memory that is no longer needed."""

import ctypes
import os
from functools import cache

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""
_OWN_PAGES_BYTES = 256 << 10
_KEPT_PRIMITIVES = "64"


@cache
def bound_heap() -> None:
    """Give every tensor from 256 KiB on pages of its own, which go back to the system with it.

    Left to itself, glibc moves this limit up to 32 MiB, and tensors below it share one heap. Batches differ in length,
    so what one leaves free fits no tensor of the next: LoRA at width 320 took 1,806 MB, and with pages of their own
    1,108 MB, for 1.5 times the processor time (a full fp32 fine-tuning at width 192: 894 and 723 MB, 1.3 times).
    oneDNN keeps compiled kernels of the last 1,024 shapes, and their scratch; 64 are enough for the shapes of some
    batches. That one is read when oneDNN first computes. Does nothing where the C library is another.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KEPT_PRIMITIVES)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)
