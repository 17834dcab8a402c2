"""Packed attention on a GPU: one variable-length kernel for the whole stream."""

import torch
from torch import Tensor

from chaperonin.kernels.segments import Segments

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # a PyTorch without the variable-length kernel
    varlen_attn = None  # type: ignore[assignment]

NAME = "packed_cuda"
NOTE = "one variable-length kernel for the whole stream; CUDA, bf16 or fp16"


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """CUDA tensors in half precision, heads that the kernel knows, a PyTorch that has it."""
    return (
        varlen_attn is not None
        and query.device.type == "cuda"
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
    )


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Offsets tell the kernel where segments end."""
    offsets = segments.offsets(query.device)
    longest = segments.longest
    return varlen_attn(query, key, value, offsets, offsets, longest, longest, scale=scale)
