"""Attention in half precision on a CPU, with gradient: the backward pass sees few different lengths.

In half precision PyTorch compiles its backward products for every length that comes, and keeps them for ever: 4 MB for
each length that a training run meets. Filled up to multiples of 64 there are sixteen lengths up to 1,024 tokens.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from chaperonin.kernels.segments import Segments

NAME = "half_cpu"
NOTE = "PyTorch's blocked CPU attention in bf16 or fp16, with gradient, its backward pass over lengths filled to 64s"

_STEP = 64
_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def lacks() -> str:
    """Nothing: every machine has a CPU."""
    return ""


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """CPU tensors in half precision."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    return half and query.device.type == "cpu" and query.dtype == key.dtype == value.dtype


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Each run of neighbours of equal length is one dense batch."""
    attended = []
    for start, count, length in segments.runs:
        streams = (stream[start : start + count * length] for stream in (query, key, value))
        own = (stream.unflatten(0, (count, length)).transpose(1, 2) for stream in streams)
        attended.append(_Attend.apply(*own, scale).transpose(1, 2).flatten(0, 1))
    return attended[0] if len(attended) == 1 else torch.cat(attended)


class _Attend(torch.autograd.Function):
    """`[count, heads, length, head_dim]` each."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Keeps the logarithm of each row's sum, `[count, heads, length]`, as the backward pass needs it."""
        attended, log_sums = _forward(query, key, value, scale=scale)
        ctx.save_for_backward(query, key, value, attended, log_sums)
        ctx.scale = scale
        return cast(Tensor, attended)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Zeros behind every stream: their keys and gradients are zero, so no sum of the others changes."""
        *streams, log_sums = ctx.saved_tensors
        length = gradient.shape[-2]
        missing = -length % _STEP
        if missing:
            gradient, *streams = (pad(stream, (0, 0, 0, missing)) for stream in (gradient, *streams))
            log_sums = pad(log_sums, (0, missing))
        gradients = _backward(gradient, *streams, log_sums, 0.0, False, scale=ctx.scale)
        of_query, of_key, of_value = (own[..., :length, :] for own in gradients)
        return of_query, of_key, of_value, None
