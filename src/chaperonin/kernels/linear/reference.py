"""The linear product as PyTorch writes it."""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional

NAME = "reference"
NOTE = "PyTorch's linear on a plain weight; any device and dtype, with gradient"

Activation = Literal["gelu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu}


def lacks() -> str:
    """Nothing."""
    return ""


def supports(
    x: Tensor, weight: Any, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> bool:
    """Plain weights."""
    return isinstance(weight, Tensor)


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> Tensor:
    """activation(x weightᵀ + bias) + residual."""
    product = functional.linear(x, weight, bias)
    if activation is not None:
        product = ACTIVATIONS[activation](product)
    return product if residual is None else product + residual
