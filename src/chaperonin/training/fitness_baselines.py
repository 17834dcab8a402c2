"""What a model of variant effects must beat: a ridge regression on the residues themselves, and BLOSUM62."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from chaperonin.data.assays import Assay
from chaperonin.data.splitting import Parts
from chaperonin.protein.substitution import blosum62_score
from chaperonin.tasks.fitness import ONE_HOT, SUBSTITUTION
from chaperonin.training.simple_models import STRENGTHS, Part, Problem, best_number, ridge

_REGRESSION = Problem("regression")


def baselines(assay: Assay, parts: Parts) -> dict[str, NDArray[np.float64]]:
    """Predictions for the test part; BLOSUM62 only where all variants are known substitutions."""
    known = np.sort(np.concatenate([parts.training, parts.validation]))
    found = {ONE_HOT: _one_hot_ridge(assay, parts, known)}
    if assay.variants is not None:
        scores = np.array([blosum62_score(variant) for variant in assay.variants], np.float64)
        found[SUBSTITUTION] = _on_a_line(scores, assay.values, known, parts.test)
    return found


def one_hot(sequences: Sequence[str]) -> csr_matrix:
    """One column for each residue that occurs at a place, counted from the first residue: [sequences, columns].

    Shorter sequences have nothing at the last places. Places where all sequences agree tell nothing, and a ridge
    regression gives them no weight.
    """
    longest = max(map(len, sequences))
    letters = np.zeros((len(sequences), longest), np.uint8)
    for row, sequence in zip(letters, sequences, strict=True):
        row[: len(sequence)] = np.frombuffer(sequence.encode("ascii"), np.uint8)
    varied = np.flatnonzero((letters != letters[0]).any(axis=0))
    rows, places = np.nonzero(letters[:, varied])
    codes = places * 256 + letters[:, varied][rows, places]
    columns = np.unique(codes, return_inverse=True)[1]
    shape = (len(sequences), int(columns.max(initial=0)) + 1)
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def _one_hot_ridge(assay: Assay, parts: Parts, known: NDArray[np.int64]) -> NDArray[np.float64]:
    """The strength is that with the least error on the validation fold; then both parts are fitted."""
    features = one_hot(assay.sequences)
    training, validation = (
        Part(features[part], assay.values[part]) for part in (parts.training, parts.validation)
    )
    models = [ridge(_REGRESSION, training, strength) for strength in STRENGTHS]
    strength = STRENGTHS[best_number(_REGRESSION, models, validation)]
    return ridge(_REGRESSION, Part(features[known], assay.values[known]), strength)(features[parts.test])


def _on_a_line(
    scores: NDArray[np.float64],
    values: NDArray[np.float64],
    known: NDArray[np.int64],
    test: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Scores in the unit of the measurement, by the line that fits the known ones best."""
    own, truth = scores[known], values[known]
    spread = own.var()
    slope = ((own - own.mean()) * (truth - truth.mean())).mean() / spread if spread > 0 else 0.0
    return truth.mean() + slope * (scores[test] - own.mean())
