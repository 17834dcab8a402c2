"""Near-identical sequences on two sides of a split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.families import relatives
from chaperonin.data.splitting import Parts

IDENTITY = 0.9
"""Share of the shorter sequence's residues that must be the same."""
WORD = 5
_ALL_PAIRS = 500
"""Pairs of one family up to which all are compared; above, linked ones and neighbours in two sorted orders."""
_NEIGHBOURS = 8
_MARGIN = 32
"""Residues by which an alignment may leave the diagonals of shared words."""


@dataclass(frozen=True)
class Leak:
    """Two near-identical examples in different parts (numbers into the examples), the held-out one second."""

    first: int
    second: int
    parts: tuple[str, str]
    identity: float
    """Same residues of their alignment, as a share of the shorter sequence."""


def leaks(sequences: Sequence[str], splits: Sequence[Parts], identity: float = IDENTITY) -> list[Leak]:
    """Pairs of at least this identity across the parts of any split, split after split, sorted by their numbers.

    Candidates are sequences of one family (data/families.py); each is checked by its shared words, then by
    counting on their common diagonal or, where that is not enough, by a local alignment. Of a large family, as
    variants of one protein form, not all pairs are listed, but nearly every example that has one is.
    """
    names = ("training", "validation", "test")
    related = relatives(sequences)
    comparison = _Comparison(sequences, identity)
    found = []
    for parts in splits:
        side = np.zeros(len(sequences), dtype=np.int64)
        side[parts.validation], side[parts.test] = 1, 2
        for first, second in sorted(_candidates(sequences, side, *related)):
            same = comparison.identity(first, second)
            if side[first] > side[second]:
                first, second = second, first
            if same >= identity:
                found.append(Leak(first, second, (names[side[first]], names[side[second]]), same))
    return found


def _candidates(
    sequences: Sequence[str], side: NDArray[np.int64], family: NDArray[np.int64], linked: NDArray[np.int64]
) -> set[tuple[int, int]]:
    """Pairs of one family across parts, the lower number first."""
    pairs: set[tuple[int, int]] = set()
    is_large = np.zeros(family.max(initial=-1) + 1, dtype=bool)
    order = np.argsort(family, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(family[order])) + 1):
        sizes = np.bincount(side[members], minlength=3)
        crossing = (sizes.sum() ** 2 - (sizes**2).sum()) // 2
        if 0 < crossing <= _ALL_PAIRS:
            i, j = np.nonzero(np.triu(side[members][:, None] != side[members]))
            pairs.update(_ordered(members[i], members[j]))
        elif crossing:
            is_large[family[members[0]]] = True
            pairs.update(
                pair for pair in _sorted_neighbours(sequences, members) if side[pair[0]] != side[pair[1]]
            )
    if is_large.any():
        first, second = linked
        keep = is_large[family[first]] & (side[first] != side[second])
        pairs.update(_ordered(first[keep], second[keep]))
    return pairs


def _ordered(first: NDArray[np.int64], second: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    return zip(np.minimum(first, second).tolist(), np.maximum(first, second).tolist(), strict=True)


def _sorted_neighbours(sequences: Sequence[str], members: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pairs that stand close in the order of the sequences, or of the sequences read backwards.

    Two sequences with few differences share a long beginning or a long end, which brings them together.
    """
    numbers = members.tolist()
    for key in (sequences.__getitem__, lambda number: sequences[number][::-1]):
        order = np.array(sorted(numbers, key=key))
        for step in range(1, _NEIGHBOURS + 1):
            yield from _ordered(order[:-step], order[step:])


class _Comparison:
    """Identities of pairs, which are kept, and so are the words of the sequences seen last."""

    def __init__(self, sequences: Sequence[str], least: float) -> None:
        self._sequences = sequences
        self._least = least
        self._words = lru_cache(maxsize=2048)(self._words_of)
        self.identity = cache(self._identity)

    def _identity(self, first: int, second: int) -> float:
        """Same residues as a share of the shorter sequence; 0 where it surely is below the least.

        A difference spoils at most as many words as a word has residues, hence the bound on shared words.
        """
        if self._sequences[first] == self._sequences[second]:
            return 1.0
        shorter, longer = sorted((first, second), key=lambda number: len(self._sequences[number]))
        words, others = self._words(shorter), self._words(longer)
        shared = words.keys() & others.keys()
        differences = (1 - self._least) * len(self._sequences[shorter])
        if not shared or len(shared) < len(words) - WORD * differences:
            return 0.0
        diagonal = int(np.median([others[word] - words[word] for word in shared]))
        texts = self._sequences[shorter], self._sequences[longer]
        same = _same_on(*texts, diagonal)
        return same if same >= self._least else max(same, _aligned_identity(*texts, diagonal))

    def _words_of(self, number: int) -> dict[str, int]:
        text = self._sequences[number]
        return {text[place : place + WORD]: place for place in range(len(text) - WORD + 1)}


def _same_on(shorter: str, longer: str, diagonal: int) -> float:
    """Share of the shorter sequence's residues that are the same without a gap, on one diagonal."""
    first, second = (np.frombuffer(text.encode(), np.uint8) for text in (shorter, longer))
    first, second = first[max(-diagonal, 0) :], second[max(diagonal, 0) :]
    length = min(len(first), len(second))
    return int((first[:length] == second[:length]).sum()) / len(shorter)


def _aligned_identity(shorter: str, longer: str, diagonal: int) -> float:
    """Share of the shorter sequence's residues that a banded local alignment puts on equal ones."""
    from biotite.sequence import ProteinSequence
    from biotite.sequence.align import SubstitutionMatrix, align_banded

    pair = [ProteinSequence(text.replace("U", "C").replace("O", "K")) for text in (shorter, longer)]
    band = (diagonal - _MARGIN, diagonal + _MARGIN)
    matrix = SubstitutionMatrix.std_protein_matrix()
    trace = align_banded(*pair, matrix, band, gap_penalty=(-11, -1), local=True, max_number=1)[0].trace
    trace = trace[(trace >= 0).all(axis=1)]
    same = sum(shorter[i] == longer[j] for i, j in trace.tolist())
    return same / len(shorter)
