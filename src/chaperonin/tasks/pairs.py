"""A property of every pair of residues: whether they touch."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.protein.alphabet import ESM_ALPHABET, Alphabet
from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.predictor import Logits
from chaperonin.tasks.supervised import Supervised
from chaperonin.tasks.target import Level, Target


class ResiduePairs(Supervised):
    """One label for each pair of residues, those that touch being listed.

    separation: pairs nearer than this in the chain do not count (6 is usual for contacts: Rao et al. 2021).
    """

    level: ClassVar[Level] = "pairs"

    def __init__(
        self,
        target: Target,
        class_weights: Tensor | None = None,
        alphabet: Alphabet = ESM_ALPHABET,
        separation: int = 1,
    ) -> None:
        super().__init__(target, class_weights, alphabet)
        self.separation = max(1, separation)

    def labels(self, record: Item | FeatureItem) -> NDArray[np.int64]:
        """The matrix of a protein, row after row: 1 touching, 0 apart; each pair counts once, in the upper half."""
        length = len(record)
        matrix = np.full((length, length), -1)
        matrix[np.triu_indices(length, self.separation)] = 0
        first, second = record.target[record.target[:, 1] - record.target[:, 0] >= self.separation].T
        matrix[first, second] = 1
        return matrix.ravel()

    def rows(self, logits: Logits) -> Tensor:
        """Matrices of all proteins, row after row."""
        return torch.cat([matrix.flatten() for matrix in logits])

    def parts(self, logits: Logits, lengths: Sequence[int]) -> Sequence[Tensor]:
        """`[length, length]` of each protein."""
        return list(logits)
