"""LoRA on the experts of a mixture: an A and a B for each, side by side in two tensors as the experts are.

PEFT wraps linear layers, of which the published models have one per expert. Here the products of all experts' halves
are grouped too; in files each expert has its own, by PEFT's names.
"""

import math
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from chaperonin.adapt.quantize import FrozenInt8GroupedLinear
from chaperonin.kernels.grouped_matmul import Gate, grouped_matmul
from chaperonin.kernels.grouped_matmul.gates import gated
from chaperonin.models.aido.experts import GroupedLinear

GROUPED = (GroupedLinear, FrozenInt8GroupedLinear)
_EXPERT = re.compile(r"(.+)\.(\d+)")


class LoraGroupedLinear(nn.Module):
    """The linear layers of all experts, each with its own low-rank addition."""

    def __init__(self, layer: nn.Module, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        groups, outputs, inputs = layer.weight.shape  # type: ignore[misc]
        self.base_layer = layer
        self.alpha = alpha
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Parameter(torch.empty(groups, rank, inputs))
        self.up = nn.Parameter(torch.zeros(groups, outputs, rank))
        for down in self.down:  # as PEFT draws A
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))

    def forward(self, x: Tensor, counts: Tensor, gate: Gate | None = None) -> Tensor:
        """gate(x weightᵀ + bias + scale · x Aᵀ Bᵀ), each row with its own expert's."""
        product = self.base_layer(x, counts)
        low = grouped_matmul(self.dropout(x).to(self.down.dtype), self.down, None, counts)
        added = grouped_matmul(low, self.up, None, counts) * (self.alpha / self.down.shape[1])
        return gated(product + added.to(product.dtype), gate)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """A and B of each expert."""
        return zip(self.down, self.up, strict=True)


def add_expert_lora(model: nn.Module, ends: tuple[str, ...], rank: int, alpha: float, dropout: float) -> None:
    """Wrap the experts' layers whose names end so, in place."""
    for name, module in list(model.named_modules()):
        for child, layer in module.named_children():
            if isinstance(layer, GROUPED) and f"{name}.{child}".endswith(ends):
                setattr(module, child, LoraGroupedLinear(layer, rank, alpha, dropout))


def expert_of(name: str) -> tuple[str, int] | None:
    """Module and expert of a name like `layers.0.feed_forward.experts.up.3`; None for another."""
    match = _EXPERT.fullmatch(name)
    return (match[1], int(match[2])) if match else None
