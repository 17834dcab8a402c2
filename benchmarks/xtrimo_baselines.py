"""What needs no language model: ridge on one-hot letters, and BLOSUM62 distances. Settings by the validation part."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from biotite.sequence import ProteinSequence
from biotite.sequence.align import SubstitutionMatrix, align_optimal
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.tasks.target import Target
from chaperonin.training.nearest import nearest

Array = NDArray[Any]
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
NEIGHBOURS = (1, 3, 5, 10, 20)
REACH = 7
"""Residues on either side that a residue's window holds."""
ENDS = 50
"""Residues at either end of a protein that are not aligned to any other."""
CANDIDATES = 10
"""Training proteins, those that share most words, that a protein is aligned with."""
GAPS = (-11, -1)
_MATRIX = SubstitutionMatrix.std_protein_matrix()
_NUMBER = {letter: number for number, letter in enumerate(STANDARD_RESIDUES)}
ONE_HOT = np.vstack([np.eye(len(STANDARD_RESIDUES)), np.zeros(len(STANDARD_RESIDUES))]).astype(np.float32)
BLOSUM = np.array(
    [[_MATRIX.get_score(one, other) for other in STANDARD_RESIDUES] for one in STANDARD_RESIDUES],
    dtype=np.float32,
)
ROWS = np.vstack([BLOSUM, np.zeros(len(STANDARD_RESIDUES), dtype=np.float32)]) / 4
"""What stands for a letter, and for what is none: its row of the matrix."""


@dataclass(frozen=True)
class Part:
    """Sequences with their labels as `Target.encode` gives them."""

    sequences: Sequence[str]
    truth: Sequence[Array]


Parts = dict[str, Part]
Baseline = Callable[[Target, Parts], list[Array]]


def one_hot_ridge(target: Target, parts: Parts) -> list[Array]:
    """Said of each test protein. Features: all letters of variants, windows of residues, both ends of proteins."""
    return _ridge(target, parts, lambda sequence: _features(target, sequence, ONE_HOT))


def blosum(target: Target, parts: Parts) -> list[Array]:
    """Variants: mean of the nearest. Residues: ridge on rows of the matrix. Proteins: the label of the best aligned."""
    if target.level == "residue":
        return _ridge(target, parts, lambda sequence: _features(target, sequence, ROWS))
    return _nearest_variants(parts) if target.kind == "regression" else _best_aligned(target, parts)


def commonest(sequences: Sequence[str]) -> str:
    """The commonest residue at each place: of variants with a few changes each, the wild type."""
    return "".join(Counter(letters).most_common(1)[0][0] for letters in zip(*sequences, strict=True))


def distances(first: Sequence[str], second: Sequence[str]) -> Array:
    """BLOSUM62's between sequences of one length: Σ (S(a, a) + S(b, b)) / 2 - S(a, b), `[first, second]`."""
    left, right = _letters(first, ONE_HOT), _letters(second, ONE_HOT)
    across = (left @ BLOSUM).reshape(len(left), -1) @ right.reshape(len(right), -1).T
    own = [np.einsum("nla,ab,nlb->n", side, BLOSUM, side) / 2 for side in (left, right)]
    return own[0][:, None] + own[1][None] - across


def _letters(sequences: Sequence[str], table: Array) -> Array:
    """`[n, length, 20]` of sequences of one length."""
    return table[[[_NUMBER.get(letter, -1) for letter in sequence] for sequence in sequences]]


def _features(target: Target, sequence: str, table: Array) -> Array:
    """Rows of features, one a protein or one a residue."""
    if target.level == "residue":
        padded = np.pad(_letters([sequence], table)[0], ((REACH, REACH), (0, 0)))
        return np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1, axis=0).reshape(
            len(sequence), -1
        )
    if target.kind == "regression":
        return _letters([sequence], table).reshape(1, -1)
    ends = sequence[:ENDS].ljust(ENDS), sequence[-ENDS:].rjust(ENDS)
    return _letters(ends, table).reshape(1, -1)


def _ridge(target: Target, parts: Parts, features: Callable[[str], Array]) -> list[Array]:
    """Ridge on values or on columns of classes."""

    def pooled(part: Part) -> tuple[Array, Array]:
        rows = np.concatenate([features(sequence) for sequence in part.sequences])
        truth = np.concatenate([np.atleast_1d(own) for own in part.truth])
        known = np.isfinite(truth) if target.kind == "regression" else truth >= 0
        answers = truth if target.kind == "regression" else np.eye(len(target.classes))[truth]
        return rows[known], answers[known]

    (rows, answers), (held, wanted) = pooled(parts["train"]), pooled(parts["val"])
    models = [Ridge(alpha=strength).fit(rows, answers) for strength in STRENGTHS]
    best = max(models, key=lambda model: model.score(held, wanted))
    said = [best.predict(features(sequence)) for sequence in parts["test"].sequences]
    return said if target.level == "residue" else [own[0] for own in said]


def _nearest_variants(parts: Parts) -> list[Array]:
    """Mean value of the nearest training variants, as many as do best on validation."""
    values = np.array(parts["train"].truth)

    def means(stage: str) -> Iterator[Array]:
        order = distances(parts[stage].sequences, parts["train"].sequences).argsort(axis=1, kind="stable")
        return (values[order[:, :count]].mean(axis=1) for count in NEIGHBOURS)

    wanted = np.array(parts["val"].truth)
    errors = [float(np.square(said - wanted).mean()) for said in means("val")]
    return list(list(means("test"))[int(np.argmin(errors))])


def _best_aligned(target: Target, parts: Parts) -> list[Array]:
    """The class of the training protein with the best local alignment, of those that share most words."""
    training, test = parts["train"], parts["test"].sequences
    candidates = nearest(training.sequences, test, 3).numbers[:, :CANDIDATES]
    said = []
    for sequence, numbers in zip(test, candidates.tolist(), strict=True):
        scores = [_score(sequence, training.sequences[number]) for number in numbers]
        best = numbers[int(np.argmax(scores))]
        said.append(np.eye(len(target.classes))[training.truth[best]])
    return said


def _score(first: str, second: str) -> float:
    both = [
        ProteinSequence("".join(letter if letter in _NUMBER else "X" for letter in own))
        for own in (first, second)
    ]
    return float(align_optimal(*both, _MATRIX, gap_penalty=GAPS, local=True, max_number=1)[0].score)
