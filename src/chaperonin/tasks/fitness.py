"""How the effect of variants is learned from measured ones: the head, and the two recipes of AIDO.Protein.

Sun et al. 2024 (bioRxiv 2024.11.29.625425) and the configurations published with it, for ProteinGym's supervised task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.shapes import Float
from chaperonin.tasks.heads import SequenceHead

Method = Literal["frozen", "lora"]

MODEL, ONE_HOT, SUBSTITUTION = "model", "one_hot_ridge", "BLOSUM62"
PREDICTORS = (MODEL, ONE_HOT, SUBSTITUTION)
"""Whose predictions stand side by side."""

HIDDEN = 128
"""Channels between the two layers of the head."""
DROPOUT = 0.1


class FitnessHead(SequenceHead):
    """Mean over the residues, dropout, a layer of 128 channels, tanh, and one number."""

    def __init__(self, width: int) -> None:
        super().__init__(width, outputs=1)
        self.dropout = torch.nn.Dropout(DROPOUT)
        self.dense = torch.nn.Linear(width, HIDDEN)
        self.out_proj = torch.nn.Linear(HIDDEN, 1)

    def forward(self, pooled: Float[Tensor, "proteins width"]) -> Float[Tensor, "proteins outputs"]:
        """Values in deviations from the mean of the training part."""
        return self.out_proj(torch.tanh(self.dense(self.dropout(pooled))))


@dataclass(frozen=True)
class FrozenRecipe:
    """The head alone, on vectors that are computed once; it trains on all folds but the test fold."""

    steps: int = 1000
    """Optimizer steps."""
    batch_size: int = 32
    """Variants of a step."""
    learning_rate: float = 1e-3
    """After a rise over the first 5 % of the steps."""
    standardised: bool = False
    """Subtract the mean of the training vectors and divide by their deviation, channel by channel."""


@dataclass(frozen=True)
class LoraRecipe:
    """Adapters and head; the fold after the test fold chooses the best weights, the others train."""

    steps: int = 10_000
    """Most optimizer steps."""
    batch_size: int = 32
    """Variants of a step."""
    learning_rate: float = 1e-4
    """After a rise over the first 5 % of the steps; then half a cosine down to 0."""
    rank: int = 16
    """Channels of the adapters."""
    alpha: float = 32
    """Adapters are added times alpha / rank."""
    dropout: float = 0.05
    """Share of the adapters' inputs that training drops."""
    patience: int = 10
    """Epochs without a better Spearman on the validation fold after which the training ends."""
    batch_tokens: int = 8192
    """Tokens of a forward pass, at most: a step in several passes has the gradient of one."""


@dataclass(frozen=True)
class Recipes:
    """How a fold is learned, by either method."""

    frozen: FrozenRecipe = field(default_factory=FrozenRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)


@dataclass(frozen=True)
class FoldResult:
    """What is said of the variants of a test fold, in their order in the file."""

    predictions: Mapping[str, NDArray[np.float64]]
    """By the name of the predictor, in the unit of the measurement; without those that are not defined."""
    steps: int
    """Optimizer steps of the model."""
