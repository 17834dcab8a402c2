"""Linear product with its activation and residual.

Contract: `linear(x, weight, bias, activation, residual)` with x `[rows, inputs]` returns
`activation(x weightᵀ + bias) + residual`, `[rows, outputs]`. `weight` is a plain tensor `[outputs, inputs]`, or what
the `prepare` of another body made of one (`OneDNNWeight`, `Int8Weight`, `FrozenInt8Weight`).
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.linear import int8, int8_frozen, onednn, reference
from chaperonin.kernels.linear.reference import Activation
from chaperonin.kernels.registry import Operation
from chaperonin.shapes import Float

operation = Operation("linear", order=("int8", "onednn", "int8_frozen", "reference"))
for _module in (int8, onednn, int8_frozen, reference):
    operation.register(_module)

Weight = Tensor | onednn.OneDNNWeight | int8.Int8Weight | int8_frozen.FrozenInt8Weight


def linear(
    x: Float[Tensor, "rows inputs"],
    weight: Weight,
    bias: Float[Tensor, " outputs"] | None = None,
    activation: Activation | None = None,
    residual: Float[Tensor, "rows outputs"] | None = None,
) -> Float[Tensor, "rows outputs"]:
    """activation(x weightᵀ + bias) + residual; the fastest body that takes this weight."""
    return cast(Tensor, operation(x, weight, bias, activation, residual))
