"""Gated self-attention with a pair bias, AlphaFold 2's algorithms 7, 8, 13 and 14, with what it is added to.

Contract: `gated_attention(x, mask, pair_bias, weights)` with x `[rows, length, width]`, mask `[rows, length]` of keys
(1 real, 0 not) and pair_bias `[heads, length, length]` or None returns x with the update added: every row, normalised,
attends within itself. A row without any real key attends to all of its keys alike. Without gradient `x` may be
overwritten.
"""

from typing import cast

import torch
from torch import Tensor

from chaperonin.kernels.gated_attention import fused, native, reference
from chaperonin.kernels.gated_attention.weights import AttentionWeights as AttentionWeights
from chaperonin.kernels.registry import Operation
from chaperonin.kernels.slices import most_bytes
from chaperonin.shapes import Float

operation = Operation("gated_attention", order=("native", "fused", "reference"))
for _module in (native, fused, reference):
    operation.register(_module)


def gated_attention(
    x: Float[Tensor, "rows length width"],
    mask: Float[Tensor, "rows length"],
    pair_bias: Float[Tensor, "heads length length"] | None,
    weights: AttentionWeights,
) -> Float[Tensor, "rows length width"]:
    """Attend within each row; the fastest body that this machine has."""
    return cast(Tensor, operation(x, mask, pair_bias, weights))


def held_bytes(rows: int, length: int, width: int, heads: int, device: str) -> int:
    """What an attention without gradient holds in between, in fp32, with slices as they are now."""
    if device == "cpu" and not native.lacks():
        return 4 * min(torch.get_num_threads(), rows) * native.core_floats(length, width, heads)
    return most_bytes(rows, fused.row_floats(length, width), device)
