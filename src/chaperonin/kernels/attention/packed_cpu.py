"""Packed attention on a CPU, without gradient: results land in one buffer, nothing is joined at the end."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from chaperonin.kernels.segments import Segments

NAME = "packed_cpu"
NOTE = "PyTorch's blocked CPU attention per run of equal length, written in place; no gradient"


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """CPU tensors that need no gradient."""
    if query.device.type != "cpu" or not query.dtype == key.dtype == value.dtype:
        return False
    return not (torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad))


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Same calls as `sdpa`, but into one output."""
    attended = torch.empty_like(query)
    for start, count, length in segments.runs:
        own = slice(start, start + count * length)
        dense = [
            stream[own].unflatten(0, (count, length)).transpose(1, 2) for stream in (query, key, value)
        ]
        result = scaled_dot_product_attention(*dense, scale=scale)
        attended[own].unflatten(0, (count, length)).copy_(result.transpose(1, 2))
    return attended
