"""Sequences for pre-training: all of them as one array, and an endless shuffled stream of batches over it.

What a batch holds follows from the seed and the place alone, so a stream that goes on from a stored place gives the
same batches as one that never stopped.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import UsageError
from chaperonin.protein.alphabet import ESM_ALPHABET, Alphabet

ENDS = 2
"""Tokens that every crop gets besides its residues: `<cls>` and `<eos>`."""


@dataclass(frozen=True)
class Sequences:
    """Many sequences as token ids, one byte a residue, without ends."""

    residues: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    """Start of each sequence, and the end of the last."""

    @classmethod
    def gather(cls, sequences: Iterable[str], alphabet: Alphabet = ESM_ALPHABET) -> "Sequences":
        """Encode sequences; an empty one stays as a sequence of no residues."""
        encoded = [alphabet.indices(sequence).astype(np.uint8) for sequence in sequences]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        residues = np.concatenate(encoded) if encoded else np.empty(0, dtype=np.uint8)
        return cls(residues, np.concatenate(([0], lengths.cumsum())).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """Token ids of one sequence (a view)."""
        return self.residues[self.offsets[number] : self.offsets[number + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Residues of each sequence."""
        return np.diff(self.offsets)

    def choose(self, numbers: NDArray[np.int64]) -> "Sequences":
        """A copy of some sequences, in the given order."""
        chosen = [self[int(number)] for number in numbers]
        lengths = np.array([len(ids) for ids in chosen], dtype=np.int64)
        residues = np.concatenate(chosen) if chosen else np.empty(0, dtype=np.uint8)
        return Sequences(residues, np.concatenate(([0], lengths.cumsum())).astype(np.int64))


class Place(NamedTuple):
    """How far a stream has come."""

    epoch: int = 0
    taken: int = 0
    """Sequences of this epoch that were given out."""


class Stream:
    """Endless batches of crops: every sequence once an epoch, in an order of that epoch's own."""

    def __init__(self, sequences: Sequences, seed: int, window: int, batch_tokens: int) -> None:
        if not len(sequences):
            raise UsageError("there are no sequences to train on")
        if batch_tokens < window + ENDS:
            raise UsageError(
                f"a batch of {batch_tokens} tokens does not hold one window of {window} residues and its two ends",
                advice="Raise data.batch_tokens or lower data.window.",
            )
        self.sequences = sequences
        self.seed = seed
        self.window = window
        self.batch_tokens = batch_tokens
        self.lengths = np.minimum(sequences.lengths, window) + ENDS
        self._place = Place()
        self.order = self._order(self._place.epoch)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> list[NDArray[np.uint8]]:
        """Crops for one batch, longest first (equal lengths lie side by side, as attention likes them)."""
        crops: list[NDArray[np.uint8]] = []
        room = self.batch_tokens
        while True:
            epoch, taken = self.place
            number = int(self.order[taken])
            room -= int(self.lengths[number])
            if room < 0:
                return sorted(crops, key=len, reverse=True)
            crops.append(self.crop(epoch, number))
            self.place = Place(epoch, taken + 1) if taken + 1 < len(self.sequences) else Place(epoch + 1)

    @property
    def place(self) -> Place:
        """Where the next batch begins; setting it moves the stream."""
        return self._place

    @place.setter
    def place(self, place: Place) -> None:
        if place.epoch != self._place.epoch:
            self.order = self._order(place.epoch)
        self._place = place

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.sequences))

    def crop(self, epoch: int, number: int) -> NDArray[np.uint8]:
        """The whole sequence, or a window of it at a place that seed, epoch and number decide."""
        residues = self.sequences[number]
        spare = len(residues) - self.window
        if spare <= 0:
            return residues
        start = np.random.default_rng([self.seed, epoch, number]).integers(spare + 1)
        return residues[start : start + self.window]
