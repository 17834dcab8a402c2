"""The memory of this process: how much it is, and what keeps it from growing without need."""

import ctypes
import os
import resource
import sys
from functools import cache
from pathlib import Path

_LIBRARY = ctypes.CDLL(None)

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
    mallopt = getattr(_LIBRARY, "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)


def return_free_memory() -> None:
    """Give what the C library holds and nothing uses back to the system, where the library can (glibc).

    Batches differ in shape: without this, the holes that they leave in the heap add up over a run, to more than the
    tensors themselves.
    """
    trim = getattr(_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(0)


def resident_bytes() -> int:
    """Memory that this process holds now."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes() -> int:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
