"""Packed attention on a GPU: one variable-length kernel for the whole stream."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor

from chaperonin.kernels.segments import Segments

varlen_attn: Callable[..., Any] | None = None
if torch.cuda.is_available():  # importing it loads PyTorch's compiler: seconds that only a GPU is worth
    try:
        varlen_attn = import_module("torch.nn.attention.varlen").varlen_attn
    except ImportError:  # a PyTorch without the variable-length kernel
        varlen_attn = None

NAME = "packed_cuda"
NOTE = "one variable-length kernel for the whole stream; CUDA, bf16 or fp16, with gradient"


def lacks() -> str:
    """A GPU, or a PyTorch with the kernel."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    if varlen_attn is None:
        return f"PyTorch {torch.__version__} has no variable-length attention"
    major, minor = torch.cuda.get_device_capability()
    return "" if major >= 8 else f"the GPU has compute capability {major}.{minor}; the kernel needs 8.0"


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """CUDA tensors in half precision, heads that the kernel knows, a GPU and a PyTorch that have it."""
    return (
        varlen_attn is not None
        and query.device.type == "cuda"
        and query.dtype == key.dtype == value.dtype
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Offsets tell the kernel where segments end."""
    assert varlen_attn is not None
    offsets = segments.offsets(query.device)
    longest = segments.longest
    return cast(Tensor, varlen_attn(query, key, value, offsets, offsets, longest, longest, scale=scale))
