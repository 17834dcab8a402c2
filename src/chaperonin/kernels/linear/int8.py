"""Linear product in 8-bit integers by oneDNN, on a weight that was laid out for the processor."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.errors import UnavailableError
from chaperonin.kernels.hardware import lacks_byte_products
from chaperonin.kernels.linear.reference import Activation
from chaperonin.kernels.linear.rounding import BLOCK_ROWS, quantize_rows, round_weight
from chaperonin.shapes import Float

NAME = "int8"
NOTE = "8-bit integer product (oneDNN), per-channel weights, asymmetric per-row activations; CPU, no gradient"


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
    return lacks_byte_products()


def prepare(weight: Float[Tensor, "outputs inputs"], rows: int = BLOCK_ROWS) -> Int8Weight:
    """Round each output channel to 8 bits with its own scale (largest magnitude → 127).

    Raises UnavailableError where `lacks` says why.
    """
    if missing := lacks():
        raise UnavailableError(f"weights cannot be rounded to 8 bits: {missing}", advice="Use fp32.")
    plain = round_weight(weight)
    packed = torch.ops.onednn.qlinear_prepack(plain.rounded, [rows, weight.shape[1]])
    zeros = torch.zeros(weight.shape[0], dtype=torch.int64)
    sums = plain.sums * plain.scales
    return Int8Weight(packed, plain.scales, zeros, sums, (weight.shape[0], weight.shape[1]))


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
