"""Linear product in 8-bit integers: one scale per output channel, one scale and midpoint per row of x.

The row's midpoint is taken off before rounding (an asymmetric quantisation), so a row whose values all lie on one
side of zero keeps its precision. With x ≈ scale · q + middle:
x weightᵀ = scale · (q weight_qᵀ) · weight_scale + middle · (row sums of weight).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.kernels.linear.reference import ACTIVATIONS, Activation

NAME = "int8"
NOTE = "8-bit integer product (oneDNN), per-channel weights, asymmetric per-row activations; CPU, no gradient"


@dataclass(frozen=True)
class Int8Weight:
    """A weight `[outputs, inputs]` rounded to 8 bits per channel and laid out for the processor."""

    packed: Tensor
    scales: Tensor
    zeros: Tensor
    sums: Tensor
    shape: tuple[int, int]


def available() -> bool:
    """Whether this PyTorch was built with oneDNN's 8-bit product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.onednn, "qlinear_pointwise")


def prepare(weight: Tensor, rows: int = 1024) -> Int8Weight:
    """Round each output channel to 8 bits with its own scale (largest magnitude → 127)."""
    weight = weight.detach().float()
    scales = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    rounded = (weight / scales[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(rounded, [rows, weight.shape[1]])
    zeros = torch.zeros(weight.shape[0], dtype=torch.int64)
    sums = rounded.sum(dim=1, dtype=torch.int64) * scales
    return Int8Weight(packed, scales, zeros, sums.float(), (weight.shape[0], weight.shape[1]))


def supports(
    x: Tensor, weight: Any, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> bool:
    """A prepared weight; fp32 rows on the CPU that need no gradient."""
    if not isinstance(weight, Int8Weight) or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return not (torch.is_grad_enabled() and x.requires_grad)


def linear(
    x: Tensor,
    weight: Int8Weight,
    bias: Tensor | None,
    activation: Activation | None,
    residual: Tensor | None,
) -> Tensor:
    """Round the rows, multiply integers, scale back."""
    low, high = x.aminmax(dim=1, keepdim=True)
    middle = (low + high) / 2
    scale = ((high - low) / 254).clamp_min_(torch.finfo(torch.float32).tiny)
    rounded = ((x - middle) / scale).round_().add_(128).to(torch.uint8)
    product = torch.ops.onednn.qlinear_pointwise(
        rounded, 1.0, 128, weight.packed, weight.scales, weight.zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    product.mul_(scale).addcmul_(middle, weight.sums)
    if bias is not None:
        product += bias
    if activation is not None:
        product = ACTIVATIONS[activation](product)
    return product if residual is None else product.add_(residual)
