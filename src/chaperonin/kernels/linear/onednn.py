"""Linear product by oneDNN with the weight laid out once for the processor; the activation in the same pass."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.errors import UnavailableError
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.linear.reference import Activation

NAME = "onednn"
NOTE = "oneDNN's product on a weight laid out once, GELU fused; CPU, fp32 or bf16 weight, no gradient"

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class OneDNNWeight:
    """A weight `[outputs, inputs]` in the layout that oneDNN likes on this processor."""

    packed: Tensor
    shape: tuple[int, int]
    dtype: torch.dtype
    """fp32 or bf16: what rows are rounded to before the product."""


def lacks() -> str:
    """A PyTorch that was built with oneDNN's fused linear."""
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return ""
    return f"PyTorch {torch.__version__} was built without oneDNN"


def prepare(weight: Tensor, dtype: torch.dtype = torch.float32, rows: int = 1024) -> OneDNNWeight:
    """Lay out a weight for products with about `rows` rows; any number of rows is right, this one is fastest.

    Raises UnavailableError where PyTorch has no oneDNN or the processor no native bf16.
    """
    missing = lacks() or (lacks_bf16(_CPU) if dtype == torch.bfloat16 else "")
    if missing:
        raise UnavailableError(f"weights cannot be laid out as {dtype} for oneDNN: {missing}")
    # A copy, so that an fp32 weight whose layout stays as it is does not share memory with the caller's.
    plain = weight.detach().to(dtype, copy=True)
    packed = torch.ops.mkldnn._reorder_linear_weight(plain, rows)
    return OneDNNWeight(packed, (weight.shape[0], weight.shape[1]), dtype)


def supports(
    x: Tensor, weight: Any, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> bool:
    """A prepared weight; fp32 or bf16 rows on the CPU that need no gradient."""
    if not isinstance(weight, OneDNNWeight) or x.device.type != "cpu":
        return False
    if x.dtype not in (torch.float32, weight.dtype):
        return False
    return not (torch.is_grad_enabled() and x.requires_grad)


def linear(
    x: Tensor,
    weight: OneDNNWeight,
    bias: Tensor | None,
    activation: Activation | None,
    residual: Tensor | None,
) -> Tensor:
    """One oneDNN primitive, then the residual: its own fused sum costs three times as much as this one."""
    rows = x.to(weight.dtype)
    bias = None if bias is None else bias.to(weight.dtype)
    product = torch.ops.mkldnn._linear_pointwise(rows, weight.packed, bias, activation or "none", [], "none")
    product = product.to(x.dtype)
    return product if residual is None else product.add_(residual)
