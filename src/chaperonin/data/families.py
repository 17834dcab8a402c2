"""Which sequences belong together: equal ones, relatives, and the many variants of one protein."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from chaperonin.data.clusters import links
from chaperonin.data.stream import Sequences

LONG_WORD = 20
"""Residues that are kinship however many sequences share them."""
_FEWEST_LETTERS = 8
_SAMPLED = 4
"""One of so many long words is looked at: the same ones in every sequence, as their hash decides."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def same_sequence(sequences: Sequence[str]) -> NDArray[np.int64]:
    """A number for each distinct sequence, in order of appearance."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(sequence, len(number)) for sequence in sequences], dtype=np.int64)


def families(sequences: Sequence[str]) -> NDArray[np.int64]:
    """Number of each sequence's family, from 0; see `relatives`."""
    return relatives(sequences)[0]


def relatives(sequences: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of each sequence's family, and the linked pairs [2, n] of sequences (of equal ones the first).

    Links are those of data/clusters.py, which passes over words of very many sequences as motifs, and besides
    them any shared stretch of LONG_WORD residues: so the variants of one protein are one family.
    """
    same = same_sequence(sequences)
    distinct = Sequences.gather(dict.fromkeys(sequences))
    pairs = np.concatenate((np.stack(links(distinct)), _long_links(distinct)), axis=1)
    graph = coo_matrix((np.ones(pairs.shape[1], dtype=np.int8), tuple(pairs)), shape=(len(distinct),) * 2)
    labels = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels[same], np.unique(same, return_index=True)[1][pairs]


def _long_links(sequences: Sequences) -> NDArray[np.int64]:
    """Pairs [2, n] of sequences with a long word in common: each one with the first that has it."""
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    places, codes = _long_words(sequences.residues)
    keep = owner[places] == owner[places + LONG_WORD - 1]
    places, codes = places[keep], codes[keep]
    order = np.argsort(codes, kind="stable")
    places, codes = places[order], codes[order]
    is_first = np.concatenate(([True], codes[1:] != codes[:-1]))[: len(codes)]
    first = owner[places[np.flatnonzero(is_first)]][np.cumsum(is_first) - 1]
    return np.stack((first, owner[places]))[:, ~is_first]


def _long_words(residues: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Places of the sampled words with enough distinct letters, and their hashes."""
    count = max(len(residues) - LONG_WORD + 1, 0)
    codes = np.zeros(count, dtype=np.uint64)
    for offset in range(LONG_WORD):
        codes *= _FACTOR
        codes += residues[offset : offset + count]
    codes ^= codes >> np.uint64(29)
    codes *= _FACTOR
    codes ^= codes >> np.uint64(32)
    places = np.flatnonzero(codes % np.uint64(_SAMPLED) == 0)
    letters = np.zeros(len(places), dtype=np.uint64)
    for offset in range(LONG_WORD):
        letters |= np.uint64(1) << residues[places + offset].astype(np.uint64)
    places = places[np.bitwise_count(letters) >= _FEWEST_LETTERS]
    return places, codes[places]
