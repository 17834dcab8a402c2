"""Linear product by oneDNN with the weight laid out once for the processor; activation or residual in the same pass."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.kernels.linear.reference import Activation

NAME = "onednn"
NOTE = "oneDNN's product on a weight laid out once, GELU or residual fused; CPU fp32, no gradient"


@dataclass(frozen=True)
class OneDNNWeight:
    """A weight `[outputs, inputs]` in the layout that oneDNN likes on this processor."""

    packed: Tensor
    shape: tuple[int, int]


def available() -> bool:
    """Whether this PyTorch was built with oneDNN's fused linear."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def prepare(weight: Tensor, rows: int = 1024) -> OneDNNWeight:
    """Lay out a weight for products with about `rows` rows; any number of rows is right, this one is fastest."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
    return OneDNNWeight(packed, (weight.shape[0], weight.shape[1]))


def supports(
    x: Tensor, weight: Any, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> bool:
    """A prepared weight; fp32 rows on the CPU that need no gradient; an activation or a residual, not both."""
    if not isinstance(weight, OneDNNWeight) or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    if torch.is_grad_enabled() and x.requires_grad:
        return False
    return activation is None or residual is None


def linear(
    x: Tensor,
    weight: OneDNNWeight,
    bias: Tensor | None,
    activation: Activation | None,
    residual: Tensor | None,
) -> Tensor:
    """One oneDNN primitive."""
    if residual is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight.packed, bias, "add")
    return torch.ops.mkldnn._linear_pointwise(x, weight.packed, bias, activation or "none", [], "none")
