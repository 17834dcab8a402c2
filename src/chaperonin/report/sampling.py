"""Few out of many, in one pass and bounded memory, the same few every time."""

import heapq
from collections.abc import Iterable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class Thinned(Generic[Item]):
    """Every item while there are few, then every second, every fourth, …: evenly spread, never random.

    The strides are powers of two, so that the 19 variants of a scanned position are all met.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.seen = 0
        self.items: list[Item] = []
        self._stride = 1

    def add(self, item: Item) -> None:
        """Take notice of the next item."""
        if self.seen % self._stride == 0:
            if len(self.items) == self.capacity:
                self.items = self.items[::2]
                self._stride *= 2
            if self.seen % self._stride == 0:
                self.items.append(item)
        self.seen += 1

    def extend(self, items: Iterable[Item]) -> None:
        """Take notice of several items."""
        for item in items:
            self.add(item)


class Highest(Generic[Item]):
    """The few items with the highest scores; of equal ones, those met first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._heap: list[tuple[float, int, Item]] = []
        self._met = 0

    def add(self, score: float, item: Item) -> None:
        """Keep the item if its score is among the highest so far."""
        self._met += 1
        entry = (score, -self._met, item)
        if len(self._heap) < self.capacity:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def ranked(self) -> list[tuple[float, Item]]:
        """Scores and items, highest first."""
        return [(score, item) for score, _, item in sorted(self._heap, reverse=True, key=lambda e: e[:2])]


def evenly(count: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` of the numbers 0 … count-1, evenly spread, ascending."""
    if count <= wanted:
        return np.arange(count)
    return np.arange(wanted) * count // wanted
