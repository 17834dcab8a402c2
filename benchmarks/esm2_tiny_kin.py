"""An independent look at the hold-out: the nearest training sequence of a sample, by shared words and an alignment.

It shares nothing with the clustering: words of six residues, any of them, on any diagonal; then an optimal local
alignment (BLOSUM62, gaps 11 + 1) with the training sequence that shares most of them.
"""

import numpy as np
from biotite.sequence import ProteinSequence
from biotite.sequence.align import SubstitutionMatrix, align_optimal, get_codes
from numpy.typing import NDArray

from chaperonin.data.stream import Sequences
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES

SAMPLE = 200
_WORD = 6
_CHUNK = 1 << 22
_LETTERS = len(STANDARD_RESIDUES)


def with_kin(
    sequences: Sequences, training: NDArray[np.int64], sample: NDArray[np.int64]
) -> dict[float, int]:
    """Sequences of the sample whose nearest one in training is identical in at least that share of 80 residues."""
    nearest = _nearest(sequences, training, sample)
    identities = [_identity(sequences[int(own)], sequences[int(other)]) for own, other in nearest.items()]
    return {least: sum(identity >= least for identity in identities) for least in (0.3, 0.5, 0.9)}


def _nearest(sequences: Sequences, training: NDArray[np.int64], sample: NDArray[np.int64]) -> dict[int, int]:
    """For each of the sample, the training sequence with most words in common; none in common, no entry."""
    words = [np.unique(_codes(sequences[int(number)])) for number in sample]
    code = np.concatenate(words)
    asker = np.repeat(np.arange(len(sample)), [len(own) for own in words])
    order = code.argsort(kind="stable")
    code, asker = code[order], asker[order]
    is_wanted = np.zeros(_LETTERS**_WORD + 1, dtype=bool)
    is_wanted[code] = True
    is_wanted[-1] = False
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    trains = np.zeros(len(sequences), dtype=bool)
    trains[training] = True
    pairs = []
    for start in range(0, len(sequences.residues), _CHUNK):
        found = _codes(sequences.residues[start : start + _CHUNK + _WORD - 1])
        places = np.flatnonzero(is_wanted[found])
        places = places[trains[owner[start + places]]]
        first, last = (np.searchsorted(code, found[places], side=side) for side in ("left", "right"))
        repeats = last - first
        rank = np.arange(repeats.sum()) - np.repeat(repeats.cumsum() - repeats, repeats)
        pairs.append(
            asker[np.repeat(first, repeats) + rank] * len(sequences)
            + owner[start + np.repeat(places, repeats)]
        )
    pair, shared = np.unique(np.concatenate(pairs), return_counts=True)
    nearest: dict[int, int] = {}
    for index in shared.argsort(kind="stable"):  # the most in common comes last and stays
        nearest[int(sample[pair[index] // len(sequences)])] = int(pair[index] % len(sequences))
    return nearest


def _codes(residues: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of the word that begins at each place; the last number for one with an unusual residue."""
    letters = np.full(256, _LETTERS)
    letters[ESM_ALPHABET.indices(STANDARD_RESIDUES)] = np.arange(_LETTERS)
    own = letters[residues]
    count = max(0, len(own) - _WORD + 1)
    code, is_unusual = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    for offset in range(_WORD):
        letter = own[offset : offset + count]
        code = code * _LETTERS + letter
        is_unusual |= letter == _LETTERS
    return np.where(is_unusual, _LETTERS**_WORD, code)


def _identity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Identical pairs of the best local alignment over its pairs, or over 80 where it is shorter."""
    texts = ("".join(ESM_ALPHABET.tokens[token] for token in residues) for residues in (first, second))
    a, b = (ProteinSequence(text.translate(str.maketrans("UOBZX", "CKDEX"))) for text in texts)
    matrix = SubstitutionMatrix.std_protein_matrix()
    alignment = align_optimal(a, b, matrix, gap_penalty=(-11, -1), local=True, max_number=1)[0]
    codes = get_codes(alignment)
    is_pair = (codes >= 0).all(axis=0)
    return float((codes[0] == codes[1])[is_pair].sum() / max(80, is_pair.sum()))
