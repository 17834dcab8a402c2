"""A ProtST at the endpoint: word pieces to vectors, those of the last texts kept."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chaperonin.inference.protst import TEXTS_AT_ONCE, Loaded

_KEPT = 4096
"""Texts whose vectors are kept: of the published model 8 MB, and 4 MB of word pieces."""


class TextReader:
    """Reads texts in the model's thread, and remembers: people ask for the same classes again and again.

    What is remembered belongs to the event loop.
    """

    def __init__(self, model: Loaded) -> None:
        self.model = model
        self.words = model.words  # one that is missing keeps the endpoint from starting
        self._kept: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def read(self, pieces: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Vector `[width]`, of unit length, of each text, from its word pieces without ends.

        Some at once, and of like lengths: a batch is filled up to its longest.
        """
        order = sorted(range(len(pieces)), key=lambda number: len(pieces[number]))
        found: dict[int, NDArray[np.float32]] = {}
        for start in range(0, len(order), TEXTS_AT_ONCE):
            some = order[start : start + TEXTS_AT_ONCE]
            rows = self.words.rows([pieces[number].tolist() for number in some])
            # Copies: a slice would keep the whole batch in memory.
            found |= {
                number: own.copy() for number, own in zip(some, self.model.project_texts(rows), strict=True)
            }
        return [found[number] for number in range(len(pieces))]

    def remembered(self, pieces: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """The vector of a text, if it was asked for lately."""
        key = pieces.tobytes()
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def remember(self, pieces: NDArray[np.int64], vector: NDArray[np.float32]) -> None:
        """Keep it, and forget what was not asked for longest."""
        self._kept[pieces.tobytes()] = vector
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
