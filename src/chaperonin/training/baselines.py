"""What a result must beat: the commonest answer, the composition, and the nearest sequence by shared words.

Each baseline learns from the training part, takes its settings from the validation part (defaults where that is
empty) and gives predictions for the test part in the form of a model's, for the same `metrics` call.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.splitting import Parts
from chaperonin.errors import InputError
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.tasks.metrics import Many
from chaperonin.tasks.target import Kind, Level
from chaperonin.training.nearest import nearest, vote
from chaperonin.training.residue_baselines import residue_baselines, separation_baseline
from chaperonin.training.simple_models import (
    Array,
    ClassWeights,
    Part,
    Predict,
    Problem,
    best,
    linear_model,
)

_NEIGHBOURS = (1, 3, 5, 10, 20, 50)
_SHRINKAGE = (0.05, 0.5)
_USUAL = 4
"""Number of the settings to take without validation: five neighbours, little shrinkage."""
_WORDS = (3, 5)
_MOST_SHORT_WORDS = 30_000
"""Training sequences up to which words of three residues, which nearly all sequences share, are compared."""


def baselines(
    kind: Kind,
    sequences: Sequence[str],
    truth: Many,
    parts: Parts,
    classes: Sequence[str] = (),
    level: Level = "sequence",
    class_weights: ClassWeights = "none",
    seed: int = 0,
) -> dict[str, Any]:
    """Predictions of each baseline for the test part, in its order; the same for the same seed.

    Sequences and truth are of all examples, in the form of `Target.encode` (values in the user's unit). Sequence
    level: `majority` (or `mean`), `composition` and `kmer`, each [test, classes] or [test]; residues: `majority`
    (or `mean`) and `window`; pairs: `separation`; these are lists with one array for each protein.
    """
    if level == "pairs":
        return dict(separation_baseline(sequences, list(truth), parts))
    problem = Problem(kind, tuple(classes), class_weights)
    if level == "residue":
        found: dict[str, Any] = dict(residue_baselines(problem, sequences, list(truth), parts, seed))
    else:
        found = _of_sequences(problem, sequences, np.asarray(truth), parts)
    if kind == "regression":
        found["mean"] = found.pop("majority")
    return found


def composition(sequences: Sequence[str]) -> Array:
    """Share of each of the twenty residues, and the logarithm of the length: [n, 21]."""
    counts = [[sequence.count(letter) for letter in STANDARD_RESIDUES] for sequence in sequences]
    lengths = np.array([max(len(sequence), 1) for sequence in sequences], dtype=np.float64)[:, None]
    return np.hstack((np.array(counts).reshape(-1, len(STANDARD_RESIDUES)) / lengths, np.log(lengths)))


def _of_sequences(
    problem: Problem, sequences: Sequence[str], truth: NDArray[Any], parts: Parts
) -> dict[str, Any]:
    known = problem.known(truth)
    training, validation = (part[known[part]] for part in (parts.training, parts.validation))
    if not len(training):
        raise InputError("no training example has a label", where="baselines")
    return {
        "majority": _repeated(problem.constant(truth[training]), len(parts.test)),
        "composition": _by_composition(problem, sequences, truth, training, validation, parts.test),
        "kmer": _by_words(problem, sequences, truth, training, validation, parts.test),
    }


def _repeated(row: Array, count: int) -> Array:
    return np.tile(row, (count, *[1] * np.ndim(row))) if np.ndim(row) else np.full(count, row)


def _by_composition(
    problem: Problem,
    sequences: Sequence[str],
    truth: NDArray[Any],
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Array:
    features = [composition([sequences[number] for number in part]) for part in (training, validation, test)]
    mean, deviation = features[0].mean(axis=0), features[0].std(axis=0)
    scaled = [(some - mean) / np.where(deviation > 0, deviation, 1) for some in features]
    model = linear_model(problem, Part(scaled[0], truth[training]), Part(scaled[1], truth[validation]))
    return model(scaled[2])


def _by_words(
    problem: Problem,
    sequences: Sequence[str],
    truth: NDArray[Any],
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    test: NDArray[np.int64],
) -> Array:
    """Length of the words, number of neighbours and shrinkage are those with the least loss on validation."""
    known, held, asked = ([sequences[number] for number in part] for part in (training, validation, test))
    words = _WORDS if len(known) <= _MOST_SHORT_WORDS else _WORDS[1:]
    held_near = {word: nearest(known, held, word) for word in words}
    models = (
        _among(word, vote(problem, truth[training], count, shrinkage))
        for word in words
        for count in _NEIGHBOURS
        for shrinkage in _SHRINKAGE
    )
    model = best(problem, models, _USUAL, Part(held_near, truth[validation]))
    return model({word: nearest(known, asked, word) for word in words})


def _among(word: int, predict: Predict) -> Predict:
    """The vote of the neighbours that were found with words of this length."""
    return lambda neighbours: predict(neighbours[word])
