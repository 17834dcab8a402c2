"""Labelled proteins, and the batches made of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.kernels.segments import Segments
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.shapes import Float, Int


@dataclass(frozen=True)
class Item:
    """A protein and its label."""

    tokens: NDArray[Any]
    """Numbers of the residues in ESM's alphabet, without ends; a task writes them in its model's."""
    target: NDArray[Any]
    """As `Target.encode` gives it."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class FeatureItem:
    """What a frozen language model gives for a protein, and the protein's label."""

    features: NDArray[np.float32]
    """What the head sees: `[width]` of a sequence task, `[length, width]` of the others."""
    target: NDArray[Any]

    def __len__(self) -> int:
        """Rows of features."""
        return 1 if self.features.ndim == 1 else len(self.features)


@dataclass(frozen=True)
class Truth:
    """The labels of a batch, one row for each logit row; residue pairs as rows of the matrix."""

    values: Tensor
    """`[rows]` or `[rows, classes]`; what is not known is 0, and weighs nothing."""
    weights: Float[Tensor, "*rows"]
    targets: float
    """What a sum of the loss is divided by."""

    def to(self, device: torch.device) -> "Truth":
        """The same labels on a device."""
        return Truth(self.values.to(device), self.weights.to(device), self.targets)


@dataclass(frozen=True)
class LabelledBatch:
    """A packed stream with labels."""

    tokens: Int[Tensor, " tokens"]
    segments: Segments
    truth: Truth
    added: int = ESM_ALPHABET.added
    """Tokens of each protein that are no residues."""

    @property
    def targets(self) -> float:
        """Labels, each as often as its weight says."""
        return self.truth.targets

    @property
    def size(self) -> int:
        """Tokens in the stream, `<cls>` and `<eos>` included."""
        return self.segments.total

    @property
    def lengths(self) -> list[int]:
        """Residues of each protein."""
        return [length - self.added for length in self.segments.lengths]

    def to(self, device: torch.device) -> "LabelledBatch":
        """The same batch on a device."""
        return LabelledBatch(self.tokens.to(device), self.segments, self.truth.to(device), self.added)


@dataclass(frozen=True)
class FeatureBatch:
    """Features of proteins with labels: for a head whose language model does not learn."""

    features: Float[Tensor, "rows width"]
    lengths: list[int]
    """Rows of each protein."""
    truth: Truth

    @property
    def targets(self) -> float:
        """Labels, each as often as its weight says."""
        return self.truth.targets

    @property
    def size(self) -> int:
        """Rows that go through the head."""
        return len(self.features)

    def to(self, device: torch.device) -> "FeatureBatch":
        """The same batch on a device."""
        return FeatureBatch(self.features.to(device), self.lengths, self.truth.to(device))
