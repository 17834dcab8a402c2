"""What the C library holds of the process's memory although nothing uses it."""

import ctypes

_LIBRARY = ctypes.CDLL(None)


def return_free_memory() -> None:
    """Give it back to the system, where the library can (glibc).

    Batches differ in shape: without this, the holes that they leave in the heap add up over a run, to more than the
    tensors themselves.
    """
    trim = getattr(_LIBRARY, "malloc_trim", None)
    if trim is not None:
        trim(0)
