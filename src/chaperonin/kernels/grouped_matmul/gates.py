"""Gated activations (Shazeer 2020, arXiv 2002.05202): one half of the channels times the activation of the other."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from chaperonin.shapes import Float

Gate = Literal["swiglu", "geglu"]
GATES = get_args(Gate)


def gated(product: Float[Tensor, "rows doubled"], gate: Gate | None) -> Float[Tensor, "rows channels"]:
    """First half times silu (SwiGLU) or gelu (GEGLU) of the second; the product itself without a gate."""
    if gate is None:
        return product
    if torch.is_grad_enabled() and product.requires_grad:
        return _gated(product, gate)
    value, by = product.chunk(2, dim=-1)
    return _activation(by, gate).mul_(value)


@torch.library.custom_op("chaperonin::gated", mutates_args=())
def _gated(product: Tensor, gate: str) -> Tensor:
    """The same for training: nothing but the product is kept for the backward pass."""
    value, by = product.chunk(2, dim=-1)
    return _activation(by, gate).mul_(value)


@_gated.register_fake
def _(product: Tensor, gate: str) -> Tensor:
    return product.new_empty(*product.shape[:-1], product.shape[-1] // 2)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    product, ctx.gate = inputs
    ctx.save_for_backward(product)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    (product,) = ctx.saved_tensors  # asked for once: recomputation gives it once
    value, by = product.chunk(2, dim=-1)
    of_both = torch.empty_like(product)
    of_value, of_by = of_both.chunk(2, dim=-1)
    torch.mul(gradient, _activation(by, ctx.gate), out=of_value)
    torch.mul(gradient, value, out=of_by)
    through = torch.ops.aten.silu_backward if ctx.gate == "swiglu" else torch.ops.aten.gelu_backward
    of_by.copy_(through(of_by, by))
    return of_both, None


def _activation(x: Tensor, gate: str) -> Tensor:
    return functional.silu(x) if gate == "swiglu" else functional.gelu(x)


_gated.register_autograd(_backward, setup_context=_keep)
