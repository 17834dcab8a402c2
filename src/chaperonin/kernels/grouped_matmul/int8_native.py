"""Groups whose weights are bytes, by the compiled product of `linear`: bias and gate are part of it."""

from typing import Any

from torch import Tensor

from chaperonin.kernels.grouped_matmul.gates import Gate
from chaperonin.kernels.grouped_matmul.packed_cpu import PackedGroups
from chaperonin.kernels.grouped_matmul.rows import row_counts
from chaperonin.kernels.linear import int8_native
from chaperonin.kernels.linear.rounding import RoundedWeight

NAME = "int8_native"
NOTE = "each group's bytes by the compiled 8-bit product, gated in the same pass; CPU, fp32 rows, no gradient"

lacks = int8_native.lacks


def supports(x: Tensor, weight: Any, bias: Tensor | None, counts: Tensor, gate: Gate | None) -> bool:
    """Rounded weights, and rows that the linear product takes with them."""
    if not isinstance(weight, PackedGroups):
        return False
    return all(int8_native.supports(x, own, bias, None, None) for own in weight.weights)


def grouped_matmul(
    x: Tensor, weight: PackedGroups, bias: Tensor | None, counts: Tensor, gate: Gate | None
) -> Tensor:
    """Group after group, each into its rows of the result."""
    weights = [own for own in weight.weights if isinstance(own, RoundedWeight)]  # all of them
    outputs = len(weights[0].rounded)
    result = x.new_empty(len(x), outputs // 2 if gate else outputs)
    parts = row_counts(counts, len(x))
    biases = [None] * len(parts) if bias is None else bias.unbind()
    for own, rows, bytes_, add in zip(result.split(parts), x.split(parts), weights, biases, strict=True):
        if len(rows):
            given = (bytes_.rounded, bytes_.scales, bytes_.sums)
            int8_native.write_product(own, rows, *given, add, None, gate or "none")
    return result
