"""Clusters of similar sequences, and a hold-out that shares none with training.

Two sequences are linked when they share two 7-residue words, on one diagonal (the same shift between the sequences)
and at most a few dozen residues apart: the double hit of Altschul et al. (1997, NAR 25:3389). Clusters are the connected
components. Words of few distinct letters and words of many sequences say nothing and are left out.

Time is linear: all words are sorted once as integers, and a word that occurs in many sequences links each occurrence
only with the first and the next one, as in Linclust (Steinegger & Söding 2018, Nat Commun 9:2542).
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
"""Residues of a word: 20⁷ words, so that chance alone repeats few of them in 10⁸ residues."""
FEWEST_LETTERS = 4
"""Words of fewer distinct residues are low-complexity."""
MOST_OCCURRENCES = 200
"""Words of more occurrences are motifs, not kinship."""
PAIRED_OCCURRENCES = 6
"""Up to so many occurrences, every pair is linked; above, each with the first and the next."""
FARTHEST = 60
"""Residues between the two words of a link, at most."""

_POSITION_BITS = 32  # 20⁷ < 2³¹, so word and position share one signed 64-bit integer


@dataclass(frozen=True)
class Split:
    """Numbers of the sequences on either side."""

    training: NDArray[np.int64]
    holdout: NDArray[np.int64]


def split(sequences: Sequences, share: float, seed: int, largest: int = 50) -> Split:
    """Hold out whole clusters, in random order, until they make up the share of sequences.

    Clusters of more than `largest` sequences always train: one of them alone could fill the hold-out.
    """
    labels = clusters(sequences)
    sizes = np.bincount(labels)
    candidates = np.flatnonzero(sizes <= largest)
    order = np.random.default_rng([seed, len(sequences)]).permutation(candidates)
    wanted = round(share * len(sequences))
    count = int(np.searchsorted(sizes[order].cumsum(), wanted, side="right"))
    held = np.isin(labels, order[:count])
    return Split(np.flatnonzero(~held), np.flatnonzero(held))


def crossing(labels: NDArray[np.int64], holdout: NDArray[np.int64]) -> int:
    """Held-out sequences that have a member of their cluster outside the hold-out."""
    outside = np.bincount(labels) - np.bincount(labels[holdout], minlength=labels.max() + 1)
    return int((outside[labels[holdout]] > 0).sum())


def clusters(sequences: Sequences) -> NDArray[np.int64]:
    """Number of the cluster of each sequence, from 0."""
    first, second = links(sequences)
    graph = coo_matrix(
        (np.ones(len(first), dtype=np.int8), (first, second)), shape=(len(sequences), len(sequences))
    )
    return connected_components(graph, directed=False)[1].astype(np.int64)


def links(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of linked sequences."""
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    hits = np.concatenate(list(_hits(_sorted_words(sequences), owner)))
    # One row a hit: both sequences, diagonal, position. Sorted, the hits of one diagonal are neighbours.
    hits = hits[np.lexsort((hits[:, 2], hits[:, 1] - hits[:, 2], hits[:, 1], hits[:, 0]))]
    return hits


def _sorted_words(sequences: Sequences) -> NDArray[np.int64]:
    raise NotImplementedError


def _hits(words: NDArray[np.int64], owner: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    raise NotImplementedError
