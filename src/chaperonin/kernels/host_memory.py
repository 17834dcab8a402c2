"""The memory of this process: how much it is, and what keeps it from growing without need."""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_LIBRARY = ctypes.CDLL(None)

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h."""
_OWN_PAGES_BYTES = 256 << 10
_LARGE_BYTES, _KEPT_BYTES = 8 << 20, 256 << 20
_KEPT_PRIMITIVES = "64"
_HOLES = 2
"""How much more than its tensors a process may take that leaves the heap to itself."""


def settle_heap(tight: bool | None, tensor_bytes: int) -> bool:
    """Bound the heap where that is wanted or, for None, where its holes may take more than is free; whether it was."""
    if tight or (tight is None and _HOLES * tensor_bytes > free_host_bytes()):
        bound_heap()
        return True
    return False


@cache
def bound_heap() -> None:
    """Give every tensor from 256 KiB on pages of its own, which go back to the system with it.

    Left to itself, glibc moves this limit up to 32 MiB, and tensors below it share one heap, whose holes fit few
    of the next ones. LoRA at width 320 took 3,100 MB, and with pages of their
    own 1,830 MB; a full fp32 fine-tuning at width 192 took 1,290 and 1,080 MB. The price is that every page is cleared
    each time: 1.2 to 1.8 times the time.
    oneDNN keeps compiled kernels of the last 1,024 shapes, and their scratch; 64 are enough for the shapes of some
    batches. That one is read when oneDNN first computes. Does nothing where the C library is another.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KEPT_PRIMITIVES)
    mallopt = getattr(_LIBRARY, "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)


def keep_heap() -> None:
    """Keep freed memory for the next tensors, but for those from 8 MiB on, which get pages of their own.

    glibc gives the free end of its heaps back after almost every slice, and each page is cleared and mapped anew for
    the next one: a triangle multiplication of 256 residues took a third longer. `return_free_memory` is for the end.
    Does nothing where the C library is another.
    """
    mallopt = getattr(_LIBRARY, "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def before_pytorch() -> None:
    """What PyTorch reads when it is loaded, for slices of large tensors: those of 2 MiB and more get pages as large."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage inside: what is imported stays, and looking through it takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


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
    if stated := _stated("/proc/self/status", "VmHWM:"):
        return stated
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_host_bytes() -> int:
    """Memory that a new computation can have on this machine, or in this container."""
    return min(_available_bytes(), _limit_bytes())


def _available_bytes() -> int:
    return _stated("/proc/meminfo", "MemAvailable:") or os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )


def _stated(file: str, name: str) -> int:
    """Bytes that a file of the kernel states, in kB; 0 where there is no such file or line."""
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def _limit_bytes() -> int:
    """What a container's memory limit leaves, or no limit."""
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        return max(0, int(limit.read_text()) - int(used.read_text()))
    return 1 << 62
