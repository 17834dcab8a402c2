"""Linear product in 8-bit integers: one scale per output channel, one scale and lowest value per row of x.

A row is spread over all 256 levels between its own lowest and highest value (an asymmetric quantisation), so a row
whose values all lie on one side of zero keeps its precision. With x ≈ scale · q + low:
x weightᵀ = scale · (q weight_qᵀ) · weight_scale + low · (row sums of weight).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.errors import UnavailableError
from chaperonin.kernels.hardware import lacks_int8
from chaperonin.kernels.linear.reference import Activation
from chaperonin.shapes import Float

NAME = "int8"
NOTE = "8-bit integer product (oneDNN), per-channel weights, asymmetric per-row activations; CPU, no gradient"

BLOCK_ROWS = 512
"""Rows whose product is scaled, shifted and activated while it is still in the cache."""

_NARROWEST = 2.0**-12
"""Least spread of a row, as a share of its largest magnitude: keeps value / scale exact enough in fp32."""
_SMALLEST = 1e-30
"""Least spread of a row of zeros: its scale and the inverse of it are ordinary fp32 numbers."""


@dataclass(frozen=True)
class Int8Weight:
    """A weight `[outputs, inputs]` rounded to 8 bits per channel and laid out for the processor."""

    packed: Tensor
    scales: Tensor
    zeros: Tensor
    sums: Tensor
    """Sum over the inputs of each output channel of the rounded weight."""
    shape: tuple[int, int]
    dtype: torch.dtype = torch.float32
    """What rows are before they are rounded."""


def lacks() -> str:
    """A PyTorch with oneDNN's 8-bit product, a processor with 8-bit dot products."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        return f"PyTorch {torch.__version__} was built without oneDNN's 8-bit product"
    return lacks_int8()


def prepare(weight: Float[Tensor, "outputs inputs"], rows: int = BLOCK_ROWS) -> Int8Weight:
    """Round each output channel to 8 bits with its own scale (largest magnitude → 127).

    Raises UnavailableError where `lacks` says why.
    """
    if missing := lacks():
        raise UnavailableError(f"weights cannot be rounded to 8 bits: {missing}", advice="Use fp32.")
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
    """Block of rows by block of rows."""
    if len(x) <= BLOCK_ROWS:
        product = _block(x, weight, bias, activation)
        return product if residual is None else product.add_(residual)
    result = x.new_empty(len(x), weight.shape[0])
    for start in range(0, len(x), BLOCK_ROWS):
        own = slice(start, start + BLOCK_ROWS)
        product = _block(x[own], weight, bias, activation)
        if residual is None:
            result[own] = product
        else:
            torch.add(product, residual[own], out=result[own])
    return result


def _block(x: Tensor, weight: Int8Weight, bias: Tensor | None, activation: Activation | None) -> Tensor:
    """Round the rows, multiply integers, scale back. Each line is one pass over a block in the cache."""
    rounded, scale, low = quantize_rows(x)
    product = torch.ops.onednn.qlinear_pointwise(
        rounded,
        1.0,
        0,
        weight.packed,
        weight.scales,
        weight.zeros,
        None,
        1.0,
        0,
        torch.float32,
        "none",
        [],
        "",
    )
    product.mul_(scale).addcmul_(low, weight.sums)
    if bias is not None:
        product.add_(bias)
    return torch.ops.aten.gelu_(product) if activation == "gelu" else product


def quantize_rows(
    x: Float[Tensor, "rows inputs"],
) -> tuple[Tensor, Float[Tensor, "rows 1"], Float[Tensor, "rows 1"]]:
    """Rows as unsigned bytes with the scale and the lowest value of each: x ≈ scale · bytes + low.

    amin and amax apart are fifteen times as fast as aminmax over rows, and bytes by way of 16-bit integers six times
    as fast as directly (both are vectorised); adding a half and cutting off rounds, because nothing is negative.
    """
    low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
    narrowest = torch.maximum(low.abs(), high.abs()).mul_(_NARROWEST).clamp_min_(_SMALLEST)
    scale = torch.maximum(high - low, narrowest).div_(255)
    inverse = scale.reciprocal()
    levels = x * inverse
    levels.add_(0.5 - low * inverse)
    return levels.to(torch.int16).to(torch.uint8), scale, low
