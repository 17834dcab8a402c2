"""Peak memory of one call in a process of its own."""

import ctypes
import gc
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.timing import Side


def peak_bytes(side: Side, threads: int) -> tuple[int, Any]:
    """How far the process's memory rose during the call above what it held just before, and what was returned.

    The kernel counts the highest resident memory (VmHWM); it is reset after the model is loaded.
    """
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    process = context.Process(target=_measure, args=(theirs, side, threads), daemon=True)
    process.start()
    theirs.close()
    try:
        peak, result = connection.recv()
    finally:
        process.join(timeout=30)
    return peak, result


def _measure(connection: Connection, side: Side, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    run = side.build(**side.arguments)
    # What loading left in the allocator's hands would otherwise be used by the call, and not be seen.
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    result = run()
    connection.send((_status_bytes("VmHWM") - before, result))


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")
