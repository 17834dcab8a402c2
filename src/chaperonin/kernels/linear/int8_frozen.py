"""Linear product with a weight that stays in 8 bits while the layers around it are trained.

Forward is the product of `int8`, number for number, where the processor multiplies bytes, and that of `int8_native`
where that body runs. Elsewhere, and for rows that are not fp32, the weight is scaled back first. The rounding
of the rows counts as the identity in the backward pass (straight through: Bengio et al. 2013, arXiv 1308.3432), so
the input's gradient is the one of a plain product with the scaled-back weight. The weight gets none, and no row is
kept for it; its bytes are widened for one product at a time and never stay.
"""

from typing import Any

import torch
from torch import Tensor

from chaperonin.kernels.hardware import lacks_byte_products
from chaperonin.kernels.linear import int8_native
from chaperonin.kernels.linear.reference import ACTIVATIONS, Activation
from chaperonin.kernels.linear.rounding import BLOCK_ROWS, RoundedWeight, quantize_rows, widened

NAME = "int8_frozen"
NOTE = (
    "8-bit weight of one byte each, products in integers where the CPU has them; gradient to the input only"
)

_MIDDLE = 128
"""Unsigned bytes less this are signed ones, which PyTorch's integer product takes."""


def lacks() -> str:
    """Nothing: a machine without integer products scales the weight back."""
    return ""


def supports(
    x: Tensor, weight: Any, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> bool:
    """A prepared weight on the device of the rows."""
    return isinstance(weight, RoundedWeight) and x.device == weight.rounded.device


def linear(
    x: Tensor,
    weight: RoundedWeight,
    bias: Tensor | None,
    activation: Activation | None,
    residual: Tensor | None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual."""
    product = _product(x, weight.rounded, weight.scales, weight.sums)
    if bias is not None:
        product = product + bias.to(product.dtype)
    if activation is not None:
        product = ACTIVATIONS[activation](product)
    return product if residual is None else product + residual


@torch.library.custom_op("chaperonin::linear_int8_frozen", mutates_args=())
def _product(x: Tensor, rounded: Tensor, scales: Tensor, sums: Tensor) -> Tensor:
    """X weightᵀ, `[rows, outputs]` in the dtype of x."""
    is_plain = x.dtype == torch.float32 and x.device.type == "cpu"
    compiled = is_plain and int8_native.multiplies(rounded, scales, sums)
    if not is_plain or (lacks_byte_products() and not compiled):
        return x @ widened(rounded, scales).to(x.dtype).T
    result = x.new_empty(len(x), len(rounded))
    if compiled:
        int8_native.write_product(result, x, rounded, scales, sums, None, None, "none")
        return result
    for start in range(0, len(x), BLOCK_ROWS):
        own = slice(start, start + BLOCK_ROWS)
        bytes_, scale, low = quantize_rows(x[own])
        # Flipping the highest bit of an unsigned byte and reading it as signed takes 128 off.
        integers = torch._int_mm((bytes_ ^ _MIDDLE).view(torch.int8), rounded.T).add_(sums, alpha=_MIDDLE)
        torch.mul(integers, scales, out=result[own])
        result[own].mul_(scale).addcmul_(low, sums * scales)
    return result


@_product.register_fake
def _(x: Tensor, rounded: Tensor, scales: Tensor, sums: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], rounded.shape[0])


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """The weight alone: the rows have no part in their own gradient."""
    ctx.save_for_backward(inputs[1], inputs[2])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
    """Gradient times the weight that the bytes stand for."""
    return gradient @ widened(*ctx.saved_tensors).to(gradient.dtype), None, None, None


_product.register_autograd(_backward, setup_context=_keep)
