"""Packed attention compiled for this processor: each core takes some heads of the whole stream."""

import torch
from torch import Tensor

from chaperonin.kernels.native.calls import in_place, require_shape, share, takes
from chaperonin.kernels.native.library import lacks as lacks
from chaperonin.kernels.segments import Segments

NAME = "native"
NOTE = "compiled for this processor, one pass over a stream of any lengths; CPU, fp32, no gradient"

_LEAST_OPERATIONS = 10_000_000
"""For less another core is not worth waking."""


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """fp32 on a CPU without gradient."""
    return takes(query, key, value)


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Into one new tensor."""
    attended = torch.empty_like(value, memory_format=torch.contiguous_format)
    operations = 4 * query.shape[-1] * sum(length**2 for length in segments.lengths)
    least = -(-_LEAST_OPERATIONS // operations)
    offsets = segments.offsets(query.device)
    torch.ops.chaperonin.attention_(attended, query, key, value, offsets, segments.longest, scale, least)
    return attended


@in_place(
    "attention_(Tensor(a!) attended, Tensor query, Tensor key, Tensor value, Tensor offsets, int longest, float scale,"
    " int least) -> ()"
)
def _attention(
    attended: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    offsets: Tensor,
    longest: int,
    scale: float,
    least: int,
) -> None:
    heads, head_dim = query.shape[1:]
    for name, own in (("key", key), ("value", value)):
        require_shape(name, own, *query.shape)
    streams = [own.contiguous() for own in (query, key, value)] + [attended]

    stream = offsets, len(offsets) - 1, longest, scale
    share("attention", heads, *streams, head_dim, *stream, step=min(heads, least) if least > 1 else 0)
