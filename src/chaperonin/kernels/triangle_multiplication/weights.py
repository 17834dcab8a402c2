"""What a triangle multiplication has learnt."""

from typing import NamedTuple

from torch import Tensor

from chaperonin.shapes import Float


class TriangleWeights(NamedTuple):
    """Weights and biases in the order of the algorithm."""

    norm: Float[Tensor, " width"]
    norm_bias: Float[Tensor, " width"]
    project: Float[Tensor, "two_channels width"]
    """Left, then right."""
    project_bias: Float[Tensor, " two_channels"]
    gate: Float[Tensor, "two_channels width"]
    gate_bias: Float[Tensor, " two_channels"]
    product_norm: Float[Tensor, " channels"]
    product_norm_bias: Float[Tensor, " channels"]
    out: Float[Tensor, "width channels"]
    out_bias: Float[Tensor, " width"]
    out_gate: Float[Tensor, "width width"]
    out_gate_bias: Float[Tensor, " width"]
