"""A loop over the groups, as mixture-of-experts models are published."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chaperonin.kernels.grouped_matmul.gates import Gate

NAME = "reference"
NOTE = "PyTorch's linear, group by group; any device and dtype, with gradient; waits for a GPU to count"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(x: Tensor, weight: Any, bias: Tensor | None, counts: Tensor, gate: Gate | None) -> bool:
    """Plain weights."""
    return isinstance(weight, Tensor)


def grouped_matmul(
    x: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor, gate: Gate | None
) -> Tensor:
    """Group after group, joined at the end."""
    biases = [None] * len(weight) if bias is None else bias.unbind()
    parts = x.split(counts.tolist())
    groups = zip(parts, weight.unbind(), biases, strict=True)
    return torch.cat([_plainly(functional.linear(part, own, add), gate) for part, own, add in groups])


def _plainly(product: Tensor, gate: Gate | None) -> Tensor:
    """The gate as its paper writes it."""
    if gate is None:
        return product
    value, by = product.chunk(2, dim=-1)
    return value * (functional.silu(by) if gate == "swiglu" else functional.gelu(by))
