"""Attention by PyTorch's scaled_dot_product_attention, one call per run of equally long segments."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from chaperonin.kernels.segments import Segments

NAME = "sdpa"
NOTE = "PyTorch's fused attention over runs of equal length; any device, with gradient"


def lacks() -> str:
    """Nothing: every supported PyTorch has it."""
    return ""


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """Everything that PyTorch's attention takes: floating-point tensors of one dtype."""
    return query.is_floating_point() and query.dtype == key.dtype == value.dtype


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Each run of neighbours of equal length is one dense batch: no padding, no mask."""
    attended = [_attend(query, key, value, run, scale) for run in segments.runs]
    return attended[0] if len(attended) == 1 else torch.cat(attended)


def _attend(query: Tensor, key: Tensor, value: Tensor, run: tuple[int, int, int], scale: float) -> Tensor:
    start, count, length = run
    q, k, v = (
        stream[start : start + count * length].unflatten(0, (count, length)).transpose(1, 2)
        for stream in (query, key, value)
    )
    attended = scaled_dot_product_attention(q, k, v, scale=scale)
    return attended.transpose(1, 2).flatten(0, 1)
