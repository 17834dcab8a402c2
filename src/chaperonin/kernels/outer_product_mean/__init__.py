"""Outer product mean, the core of AlphaFold 2's algorithm 10, with what it is added to.

Contract: `outer_product_mean(pair, left, right, mask, out, out_bias)` with pair representation `[length, length,
width]`, masked projections left and right `[sequences, length, channels]`, mask `[sequences, length]`, out `[width,
channels * channels]` returns the pair representation plus the outer products of left[s, i] and right[s, j], summed over
sequences, projected, divided by the number of sequences that have both residues. Without gradient `pair` may be
overwritten.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.outer_product_mean import few_sequences, native, reference, sliced
from chaperonin.kernels.registry import Operation
from chaperonin.kernels.slices import most_bytes
from chaperonin.shapes import Float

operation = Operation("outer_product_mean", order=("native", "few_sequences", "sliced", "reference"))
for _module in (native, few_sequences, sliced, reference):
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


def held_bytes(sequences: int, length: int, channels: int, width: int, device: str) -> int:
    """What a mean without gradient holds in between, in fp32, besides both sides, with slices as they are now."""
    side = 4 * sequences * length * channels
    if device == "cpu" and not native.lacks():
        return 2 * side + 4 * length**2
    if few_sequences.are_few(sequences, channels, width):
        return side * width + most_bytes(length, 2 * length * width, device)
    slices = most_bytes(length, length * (2 * channels**2 + width), device, sliced.LEAST_ROWS)
    return side + slices
