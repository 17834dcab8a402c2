"""Clusters of similar sequences, and a hold-out that shares none with training.

Two sequences are linked when they share two words of seven residues on one diagonal (the same shift between the
sequences), three to sixty residues apart: the double hit of Altschul et al. (1997, NAR 25:3389). Clusters are the
connected components. Words of few distinct letters and words of many sequences say nothing and are left out.

Time is that of one sort of all words as integers: a word of many sequences links each occurrence only with the first
and the next one, as in Linclust (Steinegger & Söding 2018, Nat Commun 9:2542).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from chaperonin.data.stream import Sequences
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES

WORD = 7
"""Residues of a word: 20⁷ words, so that chance repeats few of the words of 10⁸ residues."""
FEWEST_LETTERS = 4
"""Words of fewer distinct residues are low-complexity."""
MOST_OCCURRENCES = 200
"""Words of more occurrences are motifs, not kinship."""
PAIRED_OCCURRENCES = 6
"""Up to so many occurrences, all pairs are compared; above, each with the first and the next."""
NEAREST, FARTHEST = 3, 60
"""Residues between the beginnings of the two words of a link."""

_POSITION_BITS = 32  # 20⁷ < 2³¹: word and position share one signed 64-bit integer
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Split:
    """Numbers of the sequences on either side."""

    training: NDArray[np.int64]
    holdout: NDArray[np.int64]


def split(sequences: Sequences, share: float, seed: int, largest: int = 50) -> Split:
    """Hold out whole clusters, in random order, until they make up the share of sequences.

    Clusters of more than `largest` sequences always train: a few of them alone could fill the hold-out.
    """
    labels = clusters(sequences)
    sizes = np.bincount(labels, minlength=1)
    candidates = np.random.default_rng(seed).permutation(np.flatnonzero(sizes <= largest))
    wanted = round(share * len(sequences))
    count = int(np.searchsorted(sizes[candidates].cumsum(), wanted, side="right"))
    is_held = np.isin(labels, candidates[:count])
    return Split(np.flatnonzero(~is_held), np.flatnonzero(is_held))


def crossing(labels: NDArray[np.int64], holdout: NDArray[np.int64]) -> int:
    """Held-out sequences with a member of their cluster outside the hold-out."""
    sizes = np.bincount(labels)
    outside = sizes - np.bincount(labels[holdout], minlength=len(sizes))
    return int((outside[labels[holdout]] > 0).sum())


def clusters(sequences: Sequences) -> NDArray[np.int64]:
    """Number of each sequence's cluster, from 0."""
    first, second = links(sequences)
    count = len(sequences)
    graph = coo_matrix((np.ones(len(first), dtype=np.int8), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def links(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of sequences with a double hit; a pair may come more than once."""
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    # A hit is a pair of places with the same word. Its diagonal in front, one sort brings double hits together.
    hits = np.concatenate(
        [((b - a) << _POSITION_BITS) | a for a, b in _hits(_words(sequences, owner), owner)]
    )
    hits.sort()
    diagonal, place = hits >> _POSITION_BITS, hits & ((1 << _POSITION_BITS) - 1)
    pairs = []
    for step in range(
        1, NEAREST + 1
    ):  # of more than NEAREST hits in a row, one of the next NEAREST is far enough
        near, far = place[:-step], place[step:]
        is_double = (diagonal[:-step] == diagonal[step:]) & (far - near >= NEAREST) & (far - near <= FARTHEST)
        near, far, shift = near[is_double], far[is_double], diagonal[:-step][is_double]
        is_one_pair = (owner[near] == owner[far]) & (owner[near + shift] == owner[far + shift])
        pairs.append((owner[near[is_one_pair]], owner[(near + shift)[is_one_pair]]))
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return first, second


def _words(sequences: Sequences, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every word that says something, as word code and place in one integer, sorted."""
    letters = np.full(256, 255, dtype=np.uint8)
    letters[ESM_ALPHABET.indices(STANDARD_RESIDUES)] = np.arange(len(STANDARD_RESIDUES))
    count = len(sequences.residues) - WORD + 1
    parts = [np.empty(0, dtype=np.int64)]
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        own = letters[sequences.residues[start : start + size + WORD - 1]]
        code = np.zeros(size, dtype=np.int64)
        seen = np.zeros(size, dtype=np.uint32)
        for offset in range(WORD):
            letter = own[offset : offset + size]
            code = code * len(STANDARD_RESIDUES) + letter
            seen |= np.left_shift(np.uint32(1), np.minimum(letter, 31), dtype=np.uint32)
        keep = (np.bitwise_count(seen) >= FEWEST_LETTERS) & (seen < (1 << len(STANDARD_RESIDUES)))
        keep &= owner[start : start + size] == owner[start + WORD - 1 : start + WORD - 1 + size]
        places = np.flatnonzero(keep)
        parts.append((code[places] << _POSITION_BITS) | (places + start))
    words = np.concatenate(parts)
    words.sort()
    return words


def _hits(
    words: NDArray[np.int64], owner: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of places (earlier, later) in different sequences that begin the same word."""
    code = words >> _POSITION_BITS
    starts = np.flatnonzero(np.concatenate(([True], code[1:] != code[:-1])))[: len(words)]
    sizes = np.diff(np.concatenate((starts, [len(words)])))
    keep = (sizes >= 2) & (sizes <= MOST_OCCURRENCES)
    starts, sizes = starts[keep], sizes[keep]
    place = words & ((1 << _POSITION_BITS) - 1)
    group = np.repeat(np.arange(len(starts)), sizes)
    rank = np.arange(len(group)) - np.repeat(sizes.cumsum() - sizes, sizes)
    place, sizes = place[starts[group] + rank], sizes[group]
    for step in range(1, PAIRED_OCCURRENCES):
        is_pair = (rank >= step) & ((step == 1) | (sizes <= PAIRED_OCCURRENCES))
        yield _between(place[np.flatnonzero(is_pair) - step], place[is_pair], owner)
    is_pair = (rank >= 2) & (sizes > PAIRED_OCCURRENCES)
    later = np.flatnonzero(is_pair)
    yield _between(place[later - rank[later]], place[later], owner)


def _between(
    earlier: NDArray[np.int64], later: NDArray[np.int64], owner: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    is_other = owner[earlier] != owner[later]
    return earlier[is_other], later[is_other]
