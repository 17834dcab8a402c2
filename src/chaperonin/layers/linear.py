"""Linear layers whose activation and residual may be part of the product."""

from torch import Tensor, nn

from chaperonin.kernels.linear import linear
from chaperonin.kernels.linear.reference import ACTIVATIONS, Activation


class Linear(nn.Linear):
    """`torch.nn.Linear` that goes through the kernels."""

    def forward(
        self, input: Tensor, activation: Activation | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """activation(input weightᵀ + bias) + residual."""
        return linear(input, self.weight, self.bias, activation, residual)


def fused(
    layer: nn.Module, x: Tensor, activation: Activation | None = None, residual: Tensor | None = None
) -> Tensor:
    """activation(layer(x)) + residual, in one product where the layer itself offers it.

    A layer that something else wraps (a LoRA adapter adds to the product before the activation) is called plainly.
    """
    if getattr(layer, "fuses", isinstance(layer, Linear)):
        return layer(x, activation, residual)
    product = layer(x)
    if activation is not None:
        product = ACTIVATIONS[activation](product)
    return product if residual is None else product + residual
