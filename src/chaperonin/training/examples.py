"""Labelled sequences in a shuffled, endless stream, each epoch in an order of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chaperonin.data.stream import Place
from chaperonin.errors import UsageError
from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.target import Level


class Examples:
    """Batches of so many examples; what they hold follows from the seed and the place alone.

    Sequences above the window are cut, each epoch elsewhere, and so are the labels of their residues.
    """

    def __init__(
        self, items: Sequence[Item | FeatureItem], seed: int, size: int, window: int, level: Level
    ) -> None:
        if not items:
            raise UsageError("there are no examples to train on", advice="Look into failures.jsonl for why.")
        self.items = items
        self.seed = seed
        self.size = size
        self.window = window
        self.level = level
        self._place = Place()
        self.order = self._order(0)

    def __iter__(self) -> "Examples":
        return self

    def __next__(self) -> list[Any]:
        """The next examples, longest first; an epoch that ends inside a batch is followed by the next one."""
        chosen: list[Any] = []
        while len(chosen) < self.size:
            epoch, taken = self.place
            chosen.append(self.example(epoch, int(self.order[taken])))
            self.place = Place(epoch, taken + 1) if taken + 1 < len(self.items) else Place(epoch + 1)
        return sorted(chosen, key=len, reverse=True)

    @property
    def place(self) -> Place:
        """Where the next batch begins; setting it moves the stream."""
        return self._place

    @place.setter
    def place(self, place: Place) -> None:
        if place.epoch != self._place.epoch:
            self.order = self._order(place.epoch)
        self._place = place

    def example(self, epoch: int, number: int) -> Item | FeatureItem:
        """One example, cut to the window at a place that seed, epoch and number decide."""
        item = self.items[number]
        if not isinstance(item, Item) or len(item) <= self.window:
            return item
        spare = len(item) - self.window
        start = int(np.random.default_rng([self.seed, epoch, number]).integers(spare + 1))
        return cut(item, start, start + self.window, self.level)

    def _order(self, epoch: int) -> Any:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.items))


def cut(item: Item, start: int, stop: int, level: Level) -> Item:
    """Residues start … stop of an example, and what is known of them."""
    target = item.target
    if level == "residue":
        target = target[start:stop]
    elif level == "pairs":
        inside = ((target >= start) & (target < stop)).all(axis=1)
        target = target[inside] - start
    return Item(item.tokens[start:stop], target)
