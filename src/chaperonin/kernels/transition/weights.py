"""What a transition has learnt."""

from typing import NamedTuple

from torch import Tensor

from chaperonin.shapes import Float


class TransitionWeights(NamedTuple):
    """Weights and biases in the order of the algorithm."""

    norm: Float[Tensor, " width"]
    norm_bias: Float[Tensor, " width"]
    up: Float[Tensor, "hidden width"]
    up_bias: Float[Tensor, " hidden"]
    down: Float[Tensor, "width hidden"]
    down_bias: Float[Tensor, " width"]
