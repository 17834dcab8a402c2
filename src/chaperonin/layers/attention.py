"""Multi-head self-attention in a packed stream: the projections; the scores are the kernel's."""

from torch import Tensor, nn

from chaperonin.layers.linear import Linear
from chaperonin.layers.rotary import rotate

Rotation = tuple[Tensor, Tensor] | None
"""Cosine and sine of every token's position, or None where positions are told otherwise."""


class Attention(nn.Module):
    """Projections of multi-head attention.

    turns_halves: whether positions turn channels i and i + head_dim/2 of each head together, as usual.
    """

    def __init__(self, width: int, head_dim: int, bias: bool = True, turns_halves: bool = True) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.turns_halves = turns_halves
        self.project = Projections(width, bias)
        self.out = Linear(width, width, bias)

    def heads(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Query (scaled), key and value as `[tokens, heads, head_dim]`, turned by position."""
        # The number of heads is read from the tensor: a tensor-parallel rank owns only some of them.
        query, key, value = (product.unflatten(-1, (-1, self.head_dim)) for product in self.project(x))
        query = query * self.head_dim**-0.5
        if rotation is not None:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        return query, key, value


class Projections(nn.Module):
    """Query, key and value products of the same input."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.query = Linear(width, width, bias)
        self.key = Linear(width, width, bias)
        self.value = Linear(width, width, bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three products `[tokens, width]`."""
        return self.query(x), self.key(x), self.value(x)
