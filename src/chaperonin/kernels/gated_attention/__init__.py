"""Attention with a gate and a pair bias, the core of AlphaFold 2's algorithms 7, 8, 13 and 14.

Contract: `gated_attention(projected, mask, pair_bias, gate_bias)` with projected `[rows, length, 4 * heads * head_dim]`
(query, key, value and gate, each heads by head_dim), mask `[rows, length]` of keys (1 real, 0 not), pair_bias
`[heads, length, length]` or None, and gate_bias `[heads, head_dim]` returns `[rows, length, heads * head_dim]`: every
row attends within itself. A row without any real key attends to all of its keys alike. Without gradient `projected`
may be overwritten.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.gated_attention import fused, reference
from chaperonin.kernels.registry import Operation
from chaperonin.shapes import Float

operation = Operation("gated_attention", order=("fused", "reference"))
for _module in (fused, reference):
    operation.register(_module)


def gated_attention(
    projected: Float[Tensor, "rows length channels"],
    mask: Float[Tensor, "rows length"],
    pair_bias: Float[Tensor, "heads length length"] | None,
    gate_bias: Float[Tensor, "heads head_dim"],
) -> Float[Tensor, "rows length attended"]:
    """Attend within each row; the fastest body that this machine has."""
    return cast(Tensor, operation(projected, mask, pair_bias, gate_bias))
