"""Threads that compute alone: each core of the processor runs work of its own, and meets the others at the end only."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from threading import local
from typing import TypeVar

import torch

Part = TypeVar("Part")
Found = TypeVar("Found")


def on_cores(parts: Sequence[Part], work: Callable[[Part], Found]) -> list[Found]:
    """work(part) for each, one at a time on each core, in the gradient mode of the caller; results in order.

    An error of one comes out when the others have let go of their memory; what has not begun by then never does.
    """
    if len(parts) == 1 or core_count() == 1:
        return [work(part) for part in parts]
    inference, gradient = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def run(part: Part) -> Found:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradient):
            return work(part)

    futures: list[Future[Found]] = [threads(torch.get_num_threads()).submit(run, part) for part in parts]
    if any(future.exception() is not None for future in wait(futures, return_when="FIRST_EXCEPTION").done):
        for future in futures:
            future.cancel()
        wait(futures)
    return [future.result() for future in futures if not future.cancelled()]


def core_count() -> int:
    """Cores that the calling thread may use: 1 for a thread that is one of several cores itself."""
    return 1 if getattr(_thread, "is_core", False) else torch.get_num_threads()


def core_threads(count: int) -> ThreadPoolExecutor:
    """Threads whose products take one thread: such a thread has no OpenMP threads of its own."""
    return ThreadPoolExecutor(count, "core", _begin)


def _begin() -> None:
    _thread.is_core = True
    torch.set_num_threads(1)
    torch.get_num_threads()  # in a new thread PyTorch takes the number that was set last, anywhere, at its first use


_thread = local()
threads = cache(core_threads)
"""The same ones every time, but for a process that was forked: it has none of them."""
os.register_at_fork(after_in_child=threads.cache_clear)
