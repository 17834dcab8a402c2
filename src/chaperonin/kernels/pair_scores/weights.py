"""What the scores of pairs are made with."""

from typing import NamedTuple

from torch import Tensor

from chaperonin.shapes import Float


class ScoreWeights(NamedTuple):
    """Weights and biases in the order of the algorithm."""

    norm: Float[Tensor, " width"]
    norm_bias: Float[Tensor, " width"]
    project: Float[Tensor, "heads width"]
