"""Linear product with its activation and residual.

Contract: `linear(x, weight, bias, activation, residual)` with x `[rows, inputs]` returns
`activation(x weightᵀ + bias) + residual`, `[rows, outputs]`. `weight` is a plain tensor `[outputs, inputs]`, or what
another body reads: `onednn.prepare` and `int8.prepare` make it (`OneDNNWeight`, `Int8Weight`), and
`int8_native.prepare` or `round_for` (`RoundedWeight`).
"""

from typing import cast

import torch
from torch import Tensor

from chaperonin.errors import UnavailableError
from chaperonin.kernels.linear import int8, int8_frozen, int8_native, onednn, reference
from chaperonin.kernels.linear.reference import Activation
from chaperonin.kernels.linear.rounding import RoundedWeight, round_weight
from chaperonin.kernels.registry import Operation
from chaperonin.shapes import Float

operation = Operation("linear", order=("int8", "onednn", "int8_native", "int8_frozen", "reference"))
for _module in (int8, onednn, int8_native, int8_frozen, reference):
    operation.register(_module)

Weight = Tensor | onednn.OneDNNWeight | int8.Int8Weight | RoundedWeight


def linear(
    x: Float[Tensor, "rows inputs"],
    weight: Weight,
    bias: Float[Tensor, " outputs"] | None = None,
    activation: Activation | None = None,
    residual: Float[Tensor, "rows outputs"] | None = None,
) -> Float[Tensor, "rows outputs"]:
    """activation(x weightᵀ + bias) + residual; the fastest body that takes this weight."""
    return cast(Tensor, operation(x, weight, bias, activation, residual))


def lacks_int8() -> str:
    """Why products in 8 bits cannot be had on this machine's CPU; empty where one of the bodies runs."""
    if not int8.lacks() or not int8_native.lacks():
        return ""
    return f"{int8.lacks()}; {int8_native.lacks()}"


def prepare_int8(weight: Float[Tensor, "outputs inputs"]) -> Weight:
    """Round a weight to 8 bits for the faster body that this machine has; UnavailableError where it has none."""
    if missing := lacks_int8():
        raise UnavailableError(f"weights cannot be rounded to 8 bits: {missing}", advice="Use fp32.")
    return int8_native.prepare(weight) if int8.lacks() else int8.prepare(weight)


def round_for(device: torch.device, weight: Float[Tensor, "outputs inputs"]) -> RoundedWeight:
    """Round a weight to bytes that stay in their plain order, as the fastest body on a device takes them."""
    return round_weight(weight, paired=device.type == "cpu" and not int8_native.lacks())
