"""Outer product mean, the core of AlphaFold 2's algorithm 10, with what it is added to.

Contract: `outer_product_mean(pair, left, right, mask, out, out_bias)` with pair representation `[length, length,
width]`, masked projections left and right `[sequences, length, channels]`, mask `[sequences, length]`, out `[width,
channels * channels]` returns the pair representation plus the outer products of left[s, i] and right[s, j], summed over
sequences, projected, divided by the number of sequences that have both residues. Without gradient `pair` may be
overwritten.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.outer_product_mean import few_sequences, reference, sliced
from chaperonin.kernels.registry import Operation
from chaperonin.shapes import Float

operation = Operation("outer_product_mean", order=("few_sequences", "sliced", "reference"))
for _module in (few_sequences, sliced, reference):
    operation.register(_module)


def outer_product_mean(
    pair: Float[Tensor, "length length width"],
    left: Float[Tensor, "sequences length channels"],
    right: Float[Tensor, "sequences length channels"],
    mask: Float[Tensor, "sequences length"],
    out: Float[Tensor, "width squared_channels"],
    out_bias: Float[Tensor, " width"],
) -> Float[Tensor, "length length width"]:
    """Pair representation from an alignment; the fastest body that this machine has."""
    return cast(Tensor, operation(pair, left, right, mask, out, out_bias))
