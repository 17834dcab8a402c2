"""A ProtST at the endpoint: word pieces to vectors, those of the last texts kept."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chaperonin.inference.protst import Loaded

_KEPT = 4096
"""Texts whose vectors are kept: 8 MB of the published model."""


class TextReader:
    """Reads texts in the model's thread, and remembers: people ask for the same classes again and again.

    What is remembered belongs to the event loop.
    """

    def __init__(self, model: Loaded) -> None:
        self.model = model
        model.words  # noqa: B018 (a vocabulary that is missing keeps the endpoint from starting)
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def read(self, pieces: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Vector `[width]`, of unit length, of each text, from its word pieces without ends."""
        vectors = self.model.project_texts(self.model.words.rows([own.tolist() for own in pieces]))
        # Copies: a slice would keep the whole batch in memory.
        return [vector.copy() for vector in vectors]

    def remembered(self, text: str) -> NDArray[np.float32] | None:
        """Its vector, if it was asked for lately."""
        if text in self._kept:
            self._kept.move_to_end(text)
        return self._kept.get(text)

    def remember(self, text: str, vector: NDArray[np.float32]) -> None:
        """Keep it, and forget what was not asked for longest."""
        self._kept[text] = vector
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
