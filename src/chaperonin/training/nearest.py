"""Prediction from the training sequences that share most words with a sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.training.simple_models import Array, Predict, Problem

MOST_NEIGHBOURS = 50
_ROWS = 256
_NUMBER = np.full(len(ESM_ALPHABET), -1, dtype=np.int64)
_NUMBER[ESM_ALPHABET.indices(STANDARD_RESIDUES)] = np.arange(len(STANDARD_RESIDUES))


@dataclass(frozen=True)
class Neighbours:
    """The nearest training sequences of each of some sequences: numbers and cosines, [n, neighbours]."""

    numbers: NDArray[np.int64]
    cosines: Array


def nearest(training: Sequence[str], sequences: Sequence[str], word: int) -> Neighbours:
    """Nearest by the cosine of word counts; words count the more, the fewer training sequences have them."""
    known, asked = word_counts(training, word), word_counts(sequences, word)
    rarity = np.log((1 + len(training)) / (1 + np.bincount(known.indices, minlength=known.shape[1]))) + 1
    present = np.unique(known.indices)
    table = _unit(known, rarity)[:, present].T.tocsr()
    rows = _unit(asked, rarity)[:, present]
    most = min(MOST_NEIGHBOURS, len(training))
    numbers = np.empty((len(sequences), most), dtype=np.int64)
    cosines = np.empty((len(sequences), most))
    for start in range(0, len(sequences), _ROWS):
        dense = (rows[start : start + _ROWS] @ table).toarray()
        chosen = np.argpartition(-dense, most - 1, axis=1)[:, :most]
        chosen.sort(axis=1)  # of equal ones the first comes first
        order = np.argsort(-np.take_along_axis(dense, chosen, axis=1), axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, order, axis=1)
        numbers[start : start + len(dense)] = chosen
        cosines[start : start + len(dense)] = np.take_along_axis(dense, chosen, axis=1)
    return Neighbours(numbers, cosines)


def vote(problem: Problem, truth: NDArray[Any], count: int, shrinkage: float) -> Predict:
    """Mean answer of the nearest, weighted by cosine and class, with the constant answer as one more voice."""
    columns = problem.columns(truth)
    weights = problem.weights(truth).reshape(len(truth), -1) * np.ones_like(columns)
    constant = np.atleast_1d(problem.constant(truth))

    def predict(neighbours: Neighbours) -> Array:
        numbers = neighbours.numbers[:, :count]
        voices = neighbours.cosines[:, :count, None] * weights[numbers]
        total = voices.sum(axis=1) + shrinkage
        means = ((voices * columns[numbers]).sum(axis=1) + shrinkage * constant) / total
        return problem.predictions(means)

    return predict


def word_counts(sequences: Sequence[str], word: int) -> csr_matrix:
    """How often each word of standard residues is in each sequence: [sequences, 20^word]."""
    codes = []
    for sequence in sequences:
        letters = _NUMBER[ESM_ALPHABET.indices(sequence)]
        count = max(len(letters) - word + 1, 0)
        code = np.zeros(count, dtype=np.int64)
        is_word = np.ones(count, dtype=bool)
        for offset in range(word):
            letter = letters[offset : offset + count]
            code = code * len(STANDARD_RESIDUES) + letter
            is_word &= letter >= 0
        codes.append(code[is_word])
    ends = np.cumsum([0, *map(len, codes)])
    columns = np.concatenate([*codes, np.empty(0, dtype=np.int64)])
    shape = (len(sequences), len(STANDARD_RESIDUES) ** word)
    table = csr_matrix((np.ones(len(columns)), columns, ends), shape=shape)
    table.sum_duplicates()
    return table


def _unit(table: csr_matrix, rarity: Array) -> csr_matrix:
    """Counts weighted by rarity, rows of length 1; empty ones stay."""
    weighted = table.data * rarity[table.indices]
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    length = np.sqrt(np.bincount(row, weights=weighted**2, minlength=table.shape[0]))
    return csr_matrix((weighted / length[row], table.indices, table.indptr), shape=table.shape)
