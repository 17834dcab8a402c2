"""What a gated attention has learnt."""

from typing import NamedTuple

from torch import Tensor

from chaperonin.shapes import Float


class AttentionWeights(NamedTuple):
    """Weights and biases in the order of the algorithm."""

    norm: Float[Tensor, " width"]
    norm_bias: Float[Tensor, " width"]
    project: Float[Tensor, "four_widths width"]
    """Query, key, value and gate, each heads by head_dim."""
    gate_bias: Float[Tensor, "heads head_dim"]
    out: Float[Tensor, "width width"]
    out_bias: Float[Tensor, " width"]
