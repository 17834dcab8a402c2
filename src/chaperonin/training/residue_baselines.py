"""Baselines for labels of residues and of pairs of residues."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from chaperonin.data.splitting import Parts
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.training.simple_models import Array, Part, Problem, linear_model

REACH = 7
"""Residues on either side that the window holds."""
_MOST_TRAINING, _MOST_VALIDATION = 30_000, 10_000
_FARTHEST = 400


def residue_baselines(
    problem: Problem, sequences: Sequence[str], truth: Sequence[NDArray[Any]], parts: Parts, seed: int
) -> dict[str, list[Array]]:
    """For each test protein, predictions [L, classes] or values [L]: the commonest answer, and a linear model
    of the residue and its neighbours, learned from at most 30,000 residues drawn from the training part.
    """
    generator = np.random.default_rng(seed)
    training = _sample(problem, sequences, truth, parts.training, _MOST_TRAINING, generator)
    validation = _sample(problem, sequences, truth, parts.validation, _MOST_VALIDATION, generator)
    constant = problem.constant(training.truth)
    model = linear_model(problem, training, validation)
    test = [sequences[number] for number in parts.test]
    return {
        "majority": [np.tile(constant, (len(one), *[1] * constant.ndim)) for one in test],
        "window": [model(windows(one)) for one in test],
    }


def separation_baseline(
    sequences: Sequence[str], truth: Sequence[NDArray[np.int64]], parts: Parts
) -> dict[str, list[Array]]:
    """For each test protein, the share [L, L] of training pairs that touch at this distance along the chain."""
    touching, every = np.zeros(_FARTHEST + 1), np.zeros(_FARTHEST + 1)
    for number in parts.training.tolist():
        length, pairs = len(sequences[number]), truth[number]
        apart = np.arange(length)
        np.add.at(every, np.minimum(apart, _FARTHEST), length - apart)
        if len(pairs):
            np.add.at(touching, np.minimum(np.abs(pairs[:, 0] - pairs[:, 1]), _FARTHEST), 1)
    share = touching / np.maximum(every, 1)
    maps = []
    for number in parts.test.tolist():
        place = np.arange(len(sequences[number]))
        maps.append(share[np.minimum(np.abs(place[:, None] - place), _FARTHEST)])
    return {"separation": maps}


def windows(sequence: str) -> csr_matrix:
    """One-hot letters of each residue's window, [L, (2 REACH + 1) letters]; nothing beyond the ends."""
    letters, length = ESM_ALPHABET.indices(sequence), len(sequence)
    residue, offset = np.meshgrid(np.arange(length), np.arange(-REACH, REACH + 1), indexing="ij")
    place = residue + offset
    inside = (place >= 0) & (place < length)
    columns = (offset[inside] + REACH) * len(ESM_ALPHABET) + letters[place[inside]]
    shape = (length, (2 * REACH + 1) * len(ESM_ALPHABET))
    return csr_matrix((np.ones(len(columns)), (residue[inside], columns)), shape=shape)


def _sample(
    problem: Problem,
    sequences: Sequence[str],
    truth: Sequence[NDArray[Any]],
    numbers: NDArray[np.int64],
    most: int,
    generator: np.random.Generator,
) -> Part:
    """Features and truth of known residues, a random share of each protein's where there are too many."""
    from scipy.sparse import vstack

    known = [np.flatnonzero(problem.known(truth[number])) for number in numbers]
    share = min(1.0, most / max(sum(map(len, known)), 1))
    features, answers = [windows("")], [np.empty(0, dtype=truth[0].dtype)]
    for number, places in zip(numbers.tolist(), known, strict=True):
        chosen = places[generator.random(len(places)) < share]
        features.append(windows(sequences[number])[chosen])
        answers.append(truth[number][chosen])
    return Part(vstack(features, format="csr"), np.concatenate(answers))
