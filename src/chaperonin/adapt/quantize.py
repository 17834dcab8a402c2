"""Weights in 8 bits."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from chaperonin.adapt.inference import replace_layers
from chaperonin.kernels.grouped_matmul import Gate, PackedGroups, grouped_matmul
from chaperonin.kernels.linear import linear, prepare_int8, round_for
from chaperonin.kernels.linear.reference import Activation
from chaperonin.kernels.linear.rounding import RoundedWeight
from chaperonin.layers.linear import Linear
from chaperonin.models.aido.experts import GroupedLinear

Model = TypeVar("Model", bound=nn.Module)


def quantize_int8(model: Model) -> Model:
    """Change the encoder's linear layers, in place, into 8-bit ones that only infer, on this CPU.

    Weights are rounded once, one scale per output channel; activations as they come, one scale and lowest value per
    token, so no calibration data is needed. Embeddings, norms, attention, the residual stream and the heads stay
    fp32: together they are a small part of the work and the part that rounding would hurt.

    Raises UnavailableError where no body of the linear kernel multiplies in 8 bits.
    """
    replace_layers(model, prepare_int8)
    return model


def quantize_for_training(model: Model) -> Model:
    """Change the encoder's linear layers, in place, into frozen 8-bit ones that pass gradients to their inputs.

    The base of QLoRA (Dettmers et al. 2023, arXiv 2305.14314) with the numbers of `quantize_int8`: one byte per weight
    in memory. Products are in integers where the processor has them, because scaling the weights back costs as much
    memory and half as much time again. Adapters may be there before or come after.
    """
    for name, child in model.named_children():
        make = _FROZEN.get(type(child))
        if make is None:
            quantize_for_training(child)
        else:
            setattr(model, name, make(child))
    return model


class FrozenInt8Linear(nn.Linear):
    """A linear layer whose weight is bytes; a subclass of PyTorch's, so that PEFT knows it."""

    fuses = True
    scales: nn.Parameter
    sums: nn.Parameter

    def __init__(self, layer: Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        _hold_bytes(self, layer)
        if not layer.weight.is_meta:
            self.receive(None, 0, layer.weight)

    def receive(self, part: int | None, first: int, rows: Tensor) -> None:
        """Round rows of the weight, from row `first` on."""
        _round_into(self.weight, self.scales, self.sums, first, rows)

    def forward(
        self, input: Tensor, activation: Activation | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """activation(input weightᵀ + bias) + residual."""
        weight = RoundedWeight(self.weight, self.scales, self.sums)
        return linear(input, weight, self.bias, activation, residual)


class FrozenInt8GroupedLinear(nn.Module):
    """The linear layers of all experts, their weights bytes."""

    weight: nn.Parameter
    scales: nn.Parameter
    sums: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, layer: GroupedLinear) -> None:
        super().__init__()
        _hold_bytes(self, layer)
        if not layer.weight.is_meta:
            for part, weight in enumerate(layer.weight):
                self.receive(part, 0, weight)

    def receive(self, part: int | None, first: int, rows: Tensor) -> None:
        """Round rows of one expert's weight, from row `first` on."""
        _round_into(self.weight[part], self.scales[part], self.sums[part], first, rows)

    def groups(self) -> PackedGroups:
        """The weights as the kernel takes them."""
        parts = zip(self.weight, self.scales, self.sums, strict=True)
        return PackedGroups(tuple(RoundedWeight(*own) for own in parts))

    def forward(self, x: Tensor, counts: Tensor, gate: Gate | None = None) -> Tensor:
        """gate(x weightᵀ + bias), each row with its own group's."""
        return grouped_matmul(x, self.groups(), self.bias, counts, gate)


def _hold_bytes(module: nn.Module, layer: Linear | GroupedLinear) -> None:
    """Empty parameters for a layer's weight in 8 bits, one scale and one sum per output, and its bias as it is."""
    weight = layer.weight.detach()
    shapes = {"weight": (weight.shape, torch.int8), "scales": (weight.shape[:-1], torch.float32)}
    shapes["sums"] = (weight.shape[:-1], torch.int32)
    for name, (shape, dtype) in shapes.items():
        empty = weight.new_empty(shape, dtype=dtype)
        module.register_parameter(name, nn.Parameter(empty, requires_grad=False))
    bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
    module.register_parameter("bias", bias)


def _round_into(weight: Tensor, scales: Tensor, sums: Tensor, first: int, rows: Tensor) -> None:
    """Round rows and put them in their place."""
    prepared = round_for(weight.device, rows)
    own = slice(first, first + len(rows))
    with torch.no_grad():
        weight[own], scales[own], sums[own] = prepared.rounded, prepared.scales, prepared.sums


_FROZEN: dict[type[nn.Module], Callable[..., nn.Module]] = {
    Linear: FrozenInt8Linear,
    GroupedLinear: FrozenInt8GroupedLinear,
}
