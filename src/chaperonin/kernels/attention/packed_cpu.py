"""Packed attention on a CPU, without gradient: results land in one buffer, nothing is joined at the end."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from chaperonin.kernels.segments import Segments

NAME = "packed_cpu"
NOTE = "PyTorch's blocked CPU attention per run of equal length, written in place; no gradient"


def lacks() -> str:
    """Nothing: every machine has a CPU."""
    return ""


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """CPU tensors that need no gradient."""
    if query.device.type != "cpu" or not query.dtype == key.dtype == value.dtype:
        return False
    return not (torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad))


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Same calls as `sdpa`, but into one output; a single run needs no copy at all."""
    if len(segments.runs) == 1:
        return _attend(query, key, value, len(segments), scale).flatten(0, 1)
    attended = torch.empty_like(value, memory_format=torch.contiguous_format)
    for start, count, length in segments.runs:
        own = slice(start, start + count * length)
        result = _attend(query[own], key[own], value[own], count, scale)
        attended[own].unflatten(0, (count, length)).copy_(result)
    return attended


def _attend(query: Tensor, key: Tensor, value: Tensor, count: int, scale: float) -> Tensor:
    """Attention of `count` equally long segments, `[count, length, heads, head_dim]`."""
    q, k, v = (stream.unflatten(0, (count, -1)).transpose(1, 2) for stream in (query, key, value))
    return scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)
