"""Attention within the segments of a packed stream.

Contract: `attention(query, key, value, segments, scale)` with query, key and value `[tokens, heads, head_dim]`
returns `[tokens, heads, head_dim]`: softmax(scale · query keyᵀ) value over the tokens of the same segment.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.attention import half_cpu, native, packed_cpu, packed_cuda, reference, sdpa
from chaperonin.kernels.registry import Operation
from chaperonin.kernels.segments import Segments
from chaperonin.shapes import Float

operation = Operation(
    "attention", order=("packed_cuda", "native", "packed_cpu", "half_cpu", "sdpa", "reference")
)
for _module in (packed_cuda, native, packed_cpu, half_cpu, sdpa, reference):
    operation.register(_module)


def attention(
    query: Float[Tensor, "tokens heads head_dim"],
    key: Float[Tensor, "tokens heads head_dim"],
    value: Float[Tensor, "tokens heads head_dim"],
    segments: Segments,
    scale: float,
) -> Float[Tensor, "tokens heads head_dim"]:
    """Attend within each segment; the fastest body that this machine has."""
    return cast(Tensor, operation(query, key, value, segments, scale))
