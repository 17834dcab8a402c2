"""Layers that only infer: their weights are laid out for the processor, and no parameter is left of them.

Each takes the place of a layer and is called the same way. Three savings come with the layout: query, key and value
are one product (one rounding of the input in 8 bits), the turn by position is one complex product, and the
feed-forward runs over blocks of rows, so its wide inner activation never exists as a whole.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chaperonin.errors import UsageError
from chaperonin.kernels.grouped_matmul import Gate, PackedGroups, grouped_matmul
from chaperonin.kernels.linear import Weight, linear
from chaperonin.kernels.linear.reference import Activation
from chaperonin.layers.attention import Attention, Rotation
from chaperonin.layers.linear import Linear
from chaperonin.layers.rotary import rotate
from chaperonin.models.aido.experts import GroupedLinear
from chaperonin.models.esm.model import FeedForward

Prepare = Callable[[Tensor], Weight]
"""Weight `[outputs, inputs]` to what a faster body of the linear kernel takes."""

FEED_FORWARD_ROWS = 512
"""Rows of one pass through the feed-forward: enough for the product, few enough for the cache."""


def replace_layers(model: nn.Module, prepare: Prepare) -> nn.Module:
    """Put inference layers in the place of the encoder's, in this model, one at a time: no second copy in memory.

    Heads and embeddings stay as they are: they are other classes. Raises UsageError for weights that are not
    fp32 on the CPU, and for layers that something else (an adapter) still wraps.
    """
    for name, child in model.named_children():
        make = _REPLACEMENTS.get(type(child))
        if make is None:
            replace_layers(child, prepare)
        else:
            setattr(model, name, make(child, prepare))
    return model


class InferenceLinear(nn.Module):
    """A linear layer without parameters."""

    fuses = True

    def __init__(self, weight: Tensor, bias: Tensor | None, prepare: Prepare) -> None:
        super().__init__()
        self.weight = prepare(weight)
        self.bias = bias

    @classmethod
    def of(cls, layer: nn.Module, prepare: Prepare) -> "InferenceLinear":
        """In the place of a plain layer."""
        return cls(*_plain(layer), prepare)

    def forward(
        self, x: Tensor, activation: Activation | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """activation(x weightᵀ + bias) + residual."""
        return linear(x, self.weight, self.bias, activation, residual)


class InferenceAttention(nn.Module):
    """Query, key and value by one product, scaled by the weights and turned in place."""

    def __init__(self, layer: Attention, prepare: Prepare) -> None:
        super().__init__()
        self.head_dim = layer.head_dim
        self.turns_halves = layer.turns_halves
        self.out = InferenceLinear.of(layer.out, prepare)
        project = layer.project
        parts = [_plain(part) for part in (project.query, project.key, project.value)]
        # Each part is (weight, bias); what is done to the rows of one is done to the other.
        arranged = [
            [None if tensor is None else self.arrange(role, tensor) for tensor in part]
            for role, part in zip("qkv", parts, strict=True)
        ]
        weights, biases = zip(*arranged, strict=True)
        bias = None if biases[0] is None else torch.cat(biases)
        self.project = InferenceLinear(torch.cat(weights), bias, prepare)

    def arrange(self, role: str, rows: Tensor) -> Tensor:
        """Rows of the weight, the bias or an addition of one part (q, k or v), as the one product has them."""
        if role == "v":
            return rows
        rows = self._pair(rows)
        return rows * self.head_dim**-0.5 if role == "q" else rows

    def _pair(self, rows: Tensor) -> Tensor:
        """Channels i and i + head_dim/2 of each head become neighbours: real and imaginary part of one number.

        Query and key are reordered alike, so their dot products stay the same.
        """
        if self.head_dim % 2 or not self.turns_halves:  # of an odd number none turns: positions are learned
            return rows
        return rows.unflatten(0, (-1, 2, self.head_dim // 2)).transpose(1, 2).flatten(0, 2)

    def heads(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Query (scaled), key and value as `[tokens, heads, head_dim]`, turned by position; channels in pairs."""
        heads = self.project(x).unflatten(-1, (3, -1, self.head_dim))
        if rotation is not None and self.turns_halves:
            turns = torch.complex(*rotation)[:, None]  # [tokens, 1, 1, head_dim / 2]
            torch.view_as_complex(heads[:, :2].unflatten(-1, (-1, 2))).mul_(turns)
        query, key, value = heads.unbind(1)
        if rotation is not None and not self.turns_halves:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        return query, key, value


class InferenceFeedForward(nn.Module):
    """Both linear layers over one block of rows after the other."""

    def __init__(self, layer: FeedForward, prepare: Prepare) -> None:
        super().__init__()
        self.up = InferenceLinear.of(layer.up, prepare)
        self.down = InferenceLinear.of(layer.down, prepare)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """down(gelu(up(x))) + residual."""
        result = torch.empty_like(residual)
        for start in range(0, len(x), FEED_FORWARD_ROWS):
            own = slice(start, start + FEED_FORWARD_ROWS)
            inner = self.up(x[own].to(self.up.weight.dtype), "gelu")
            torch.add(self.down(inner), residual[own], out=result[own])
        return result


class InferenceGroupedLinear(nn.Module):
    """One linear layer per expert, without parameters."""

    def __init__(self, layer: GroupedLinear, prepare: Prepare) -> None:
        super().__init__()
        _require_plain(layer.weight)
        weights = layer.weight.detach()
        self.weight = PackedGroups(tuple(prepare(weight) for weight in weights))
        self.bias = None if layer.bias is None else layer.bias.detach().clone()

    def forward(self, x: Tensor, counts: Tensor, gate: Gate | None = None) -> Tensor:
        """gate(x weightᵀ + bias), each row with its own group's."""
        return grouped_matmul(x, self.weight, self.bias, counts, gate)


def _plain(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer that nothing wraps."""
    if type(layer) is not Linear:
        raise UsageError(
            f"{type(layer).__name__} stands where a plain linear layer is expected",
            advice="Merge adapters into the weights first; a prepared model cannot be prepared again.",
        )
    _require_plain(layer.weight)
    return layer.weight.detach(), None if layer.bias is None else layer.bias.detach().clone()


def _require_plain(weight: Tensor) -> None:
    if weight.dtype != torch.float32 or weight.device.type != "cpu":
        raise UsageError(
            f"weights are {weight.dtype} on {weight.device}, and are laid out from fp32 on the CPU",
            advice="Load the model in fp32 on the CPU, then prepare it.",
        )


_REPLACEMENTS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    Attention: InferenceAttention,
    FeedForward: InferenceFeedForward,
    GroupedLinear: InferenceGroupedLinear,
    Linear: InferenceLinear.of,
}
"""Layer → what infers in its place."""
