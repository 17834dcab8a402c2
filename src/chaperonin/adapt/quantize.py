"""Weights in 8 bits."""

from typing import TypeVar

from torch import Tensor, nn

from chaperonin.adapt.inference import replace_layers
from chaperonin.kernels.linear import int8, int8_frozen, linear
from chaperonin.kernels.linear.reference import Activation
from chaperonin.layers.linear import Linear

Model = TypeVar("Model", bound=nn.Module)


def quantize_int8(model: Model) -> Model:
    """Change the encoder's linear layers, in place, into 8-bit ones that only infer, on this CPU.

    Weights are rounded once, one scale per output channel; activations as they come, one scale and lowest value per
    token, so no calibration data is needed. Embeddings, norms, attention, the residual stream and the heads stay
    fp32: together they are a small part of the work and the part that rounding would hurt.

    Raises UnavailableError where the processor has no 8-bit dot product.
    """
    replace_layers(model, int8.prepare)
    return model


def quantize_for_training(model: Model) -> Model:
    """Change the encoder's linear layers, in place, into frozen 8-bit ones that pass gradients to their inputs.

    The base of QLoRA (Dettmers et al. 2023, arXiv 2305.14314) with the numbers of `quantize_int8`: one byte per weight
    in memory. Products are in integers where the processor has them, because scaling the weights back costs as much
    memory and half as much time again. Adapters may be there before or come after.
    """
    for name, child in model.named_children():
        if type(child) is Linear:
            setattr(model, name, FrozenInt8Linear(child))
        else:
            quantize_for_training(child)
    return model


class FrozenInt8Linear(nn.Linear):
    """A linear layer whose weight is bytes; a subclass of PyTorch's, so that PEFT knows it."""

    fuses = True

    def __init__(self, layer: Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        prepared = int8_frozen.prepare(layer.weight)
        self.weight = nn.Parameter(prepared.rounded, requires_grad=False)
        self.scales = nn.Parameter(prepared.scales, requires_grad=False)
        self.sums = nn.Parameter(prepared.sums, requires_grad=False)
        self.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)

    def forward(
        self, input: Tensor, activation: Activation | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """activation(input weightᵀ + bias) + residual."""
        weight = int8_frozen.FrozenInt8Weight(self.weight, self.scales, self.sums)
        return linear(input, weight, self.bias, activation, residual)
