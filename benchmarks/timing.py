"""Two programs timed in turn, A-B-A-B, each in a process of its own.

A process of its own, because allocators, thread pools and caches of the one would otherwise favour or hurt the other;
in turn, because a shared machine is not equally fast from one minute to the next.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Side:
    """One of the two programs: `build(**arguments)` returns what is timed, a function without arguments."""

    build: Callable[..., Callable[[], Any]]
    arguments: dict[str, Any] = field(default_factory=dict)
    calls: int = 1
    """Calls of one turn, where one is over before the processor is awake; the time is that of one of them."""
    environment: dict[str, str] = field(default_factory=dict)
    """What the program sets for itself before PyTorch is loaded."""


@dataclass(frozen=True)
class Samples:
    """Seconds of every timed call, and what the first (untimed) call returned."""

    seconds: tuple[list[float], ...]
    results: tuple[Any, ...]

    def medians(self) -> tuple[float, ...]:
        """Median seconds of each side."""
        return tuple(median(side) for side in self.seconds)


def interleave(sides: list[Side], repeats: int, threads: int, apart: bool = True) -> Samples:
    """Call each side once to warm up, then `repeats` rounds of one call each.

    apart: whether each side has a process of its own; without, the calls share this one (to test a benchmark).
    """
    workers = [_Worker(side, threads) if apart else _Here(side) for side in sides]
    try:
        results = tuple(worker.first() for worker in workers)
        seconds: tuple[list[float], ...] = tuple([] for _ in workers)
        for _ in range(repeats):
            for worker, own in zip(workers, seconds, strict=True):
                own.append(worker.timed())
    finally:
        for worker in workers:
            worker.close()
    return Samples(seconds, results)


class _Here:
    """The side in this process."""

    def __init__(self, side: Side) -> None:
        self.run, self.calls = side.build(**side.arguments), side.calls

    def first(self) -> Any:
        return self.run()

    def timed(self) -> float:
        return _seconds(self.run, self.calls)[0]

    def close(self) -> None:
        """Nothing to end."""


class _Worker:
    """A process that waits for its turn."""

    def __init__(self, side: Side, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self.process = context.Process(target=_serve, args=(theirs, side, threads), daemon=True)
        before = {name: os.environ.get(name) for name in side.environment}
        os.environ.update(side.environment)
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()

    def first(self) -> Any:
        self.connection.send("first")
        return self.connection.recv()

    def timed(self) -> float:
        self.connection.send("timed")
        return self.connection.recv()

    def close(self) -> None:
        self.connection.close()
        self.process.join(timeout=10)
        if self.process.is_alive():
            self.process.terminate()


def _serve(connection: Connection, side: Side, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    run = side.build(**side.arguments)
    while True:
        try:
            wanted = connection.recv()
        except EOFError:
            return
        seconds, result = _seconds(run, 1 if wanted == "first" else side.calls)
        connection.send(result if wanted == "first" else seconds)


def _seconds(run: Callable[[], Any], calls: int) -> tuple[float, Any]:
    begun = time.perf_counter()
    for _ in range(calls):
        result = run()
    return (time.perf_counter() - begun) / calls, result
