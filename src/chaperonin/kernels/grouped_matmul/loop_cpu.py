"""Groups one after the other on a CPU, each product written where it belongs, gradients too.

A loop in plain PyTorch joins the results of its groups, and its backward pass those of the gradients. Here forward
and backward write each group's part once, into one tensor.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from chaperonin.kernels.grouped_matmul.gates import Gate, gated

NAME = "loop_cpu"
NOTE = "products of each group written in place, forward and backward; CPU, plain weight"


def lacks() -> str:
    """Nothing: every machine has a CPU."""
    return ""


def supports(x: Tensor, weight: Any, bias: Tensor | None, counts: Tensor, gate: Gate | None) -> bool:
    """A plain weight and rows on the CPU, of one type."""
    return isinstance(weight, Tensor) and x.device.type == "cpu" and x.dtype == weight.dtype


def grouped_matmul(
    x: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, gate: Gate | None
) -> Tensor:
    """All products, then the gate."""
    return gated(_product(x, weight, bias, counts), gate)


@torch.library.custom_op("chaperonin::grouped_matmul_cpu", mutates_args=())
def _product(x: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor) -> Tensor:
    """Each group's product into its rows of the result."""
    result = x.new_empty(len(x), weight.shape[1])
    for group, own in _groups(counts):
        torch.mm(x[own], weight[group].T, out=result[own])
        if bias is not None:
            result[own] += bias[group]
    return result


@_product.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[1])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, counts = inputs
    ctx.has_bias = bias is not None
    needs_x, needs_weight = ctx.needs_input_grad[:2]
    # The rows are needed for the weight's gradient alone: experts that are frozen keep none.
    ctx.save_for_backward(x if needs_weight else None, weight if needs_x else None, counts)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    x, weight, counts = ctx.saved_tensors
    gradient = gradient.contiguous()
    _, wants_weight, wants_bias, _ = ctx.needs_input_grad
    of_x, of_weight, of_bias = _gradients(gradient, x, weight, counts, wants_bias and ctx.has_bias)
    return of_x if weight is not None else None, of_weight if wants_weight else None, of_bias, None


def _gradients(
    gradient: Tensor, x: Tensor | None, weight: Tensor | None, counts: Tensor, wants_bias: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of the rows, the weight and the bias; None for what is not asked for."""
    groups = len(counts)
    of_x = None if weight is None else gradient.new_empty(len(gradient), weight.shape[2])
    of_weight = None if x is None else gradient.new_empty(groups, gradient.shape[1], x.shape[1])
    of_bias = gradient.new_empty(groups, gradient.shape[1]) if wants_bias else None
    for group, own in _groups(counts):
        if of_x is not None and weight is not None:
            torch.mm(gradient[own], weight[group], out=of_x[own])
        if of_weight is not None and x is not None:
            torch.mm(gradient[own].T, x[own], out=of_weight[group])
        if of_bias is not None:
            torch.sum(gradient[own], dim=0, out=of_bias[group])
    return of_x, of_weight, of_bias


def _groups(counts: Tensor) -> list[tuple[int, slice]]:
    """Number of each group and its rows."""
    ends = [0, *counts.cumsum(0).tolist()]
    return [(group, slice(*bounds)) for group, bounds in enumerate(pairwise(ends))]


_product.register_autograd(_backward, setup_context=_keep)
