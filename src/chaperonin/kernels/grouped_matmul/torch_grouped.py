"""PyTorch's own grouped product: all groups in one launch, the counts stay on the device."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chaperonin.kernels.grouped_matmul.gates import Gate, gated

NAME = "torch_grouped"
NOTE = "PyTorch's grouped_mm, one launch and no wait for the device; CUDA, bf16, with gradient"

_ALIGNMENT = 8
"""Channels of bf16 that 16 bytes hold: what the rows of its operands must be a multiple of."""


def lacks() -> str:
    """A PyTorch with `grouped_mm`, a GPU."""
    if not hasattr(functional, "grouped_mm"):
        return f"PyTorch {torch.__version__} has no grouped_mm"
    return "" if torch.cuda.is_available() else "this machine has no CUDA GPU"


def supports(x: Tensor, weight: Any, bias: Tensor | None, counts: Tensor, gate: Gate | None) -> bool:
    """bf16 on a GPU, whole 16 bytes a row."""
    if not isinstance(weight, Tensor) or x.device.type != "cuda" or not hasattr(functional, "grouped_mm"):
        return False
    if x.dtype != torch.bfloat16 or weight.dtype != torch.bfloat16 or not len(x):
        return False
    return weight.shape[1] % _ALIGNMENT == 0 and weight.shape[2] % _ALIGNMENT == 0


def grouped_matmul(
    x: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, gate: Gate | None
) -> Tensor:
    """The product, then each row its group's bias, then the gate."""
    ends = counts.cumsum(0).to(torch.int32)
    product = functional.grouped_mm(x, weight.transpose(1, 2), offs=ends)
    if bias is not None:
        groups = torch.arange(len(counts), device=x.device)
        product = product + bias[torch.repeat_interleave(groups, counts, output_size=len(x))]
    return gated(product, gate)
