"""Attention of the Evoformer: along rows and columns of the alignment, and around the nodes of triangles.

Every module returns its input with the update added; without gradient the input is overwritten.
"""

import torch
from torch import Tensor, nn

from chaperonin.kernels.gated_attention import AttentionWeights, gated_attention
from chaperonin.kernels.pair_scores import ScoreWeights, pair_scores
from chaperonin.kernels.slices import add
from chaperonin.shapes import Float


class GatedAttention(nn.Module):
    """Self-attention with a gate and an optional pair bias, within each row of its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 4 * width, bias=False)
        """Query, key, value and gate, one below the other."""
        self.gate_bias = nn.Parameter(torch.ones(heads, width // heads))
        self.out = nn.Linear(width, width)

    def add_to(
        self,
        x: Float[Tensor, "rows length width"],
        norm: nn.LayerNorm,
        mask: Float[Tensor, "rows length"],
        pair_bias: Float[Tensor, "heads length length"] | None = None,
    ) -> Float[Tensor, "rows length width"]:
        """x with its update: `norm` is what x is normalised by."""
        own = (norm.weight, norm.bias, self.project.weight, self.gate_bias, self.out.weight, self.out.bias)
        return gated_attention(x, mask, pair_bias, AttentionWeights(*own))


class RowAttention(nn.Module):
    """MSA row-wise gated self-attention with pair bias (Algorithm 7)."""

    def __init__(self, width: int, pair_width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pair_norm = nn.LayerNorm(pair_width)
        self.pair_bias = nn.Linear(pair_width, heads, bias=False)
        self.attention = GatedAttention(width, heads)

    def forward(
        self,
        msa: Float[Tensor, "sequences length width"],
        pair: Float[Tensor, "length length pair_width"],
        mask: Float[Tensor, "sequences length"],
    ) -> Float[Tensor, "sequences length width"]:
        """Each sequence attends within itself; the pairs add the same to the scores of all."""
        bias = pair_scores(
            pair, ScoreWeights(self.pair_norm.weight, self.pair_norm.bias, self.pair_bias.weight)
        )
        return self.attention.add_to(msa, self.norm, mask, bias)


class ColumnAttention(nn.Module):
    """MSA column-wise gated self-attention (Algorithm 8), on the transposed alignment."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = GatedAttention(width, heads)

    def forward(
        self, columns: Float[Tensor, "length sequences width"], mask: Float[Tensor, "length sequences"]
    ) -> Float[Tensor, "length sequences width"]:
        """Each residue attends to those below and above it."""
        return self.attention.add_to(columns, self.norm, mask)


class GlobalColumnAttention(nn.Module):
    """MSA column-wise global gated self-attention of the extra alignment (Algorithm 19): one query a column."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        head_dim = width // heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * head_dim, bias=False)
        """One key and one value for all heads."""
        self.gate = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(
        self, columns: Float[Tensor, "length sequences width"], mask: Float[Tensor, "length sequences"]
    ) -> Float[Tensor, "length sequences width"]:
        """The query is the mean over real sequences; each sequence opens its own gate."""
        sequences, width = columns.shape[1:]
        return add(columns, self._update, 7 * sequences * width, mask)

    def _update(
        self, columns: Float[Tensor, "rows sequences width"], mask: Float[Tensor, "rows sequences"]
    ) -> Float[Tensor, "rows sequences width"]:
        x = self.norm(columns)
        mean = torch.einsum("lsc,ls->lc", x, mask) / (mask.sum(1) + 1e-10)[:, None]
        query = self.query(mean).unflatten(-1, (self.heads, -1))
        key, value = self.key_value(x).chunk(2, dim=-1)
        scores = torch.einsum("lhd,lsd->lhs", query * query.shape[-1] ** -0.5, key)
        scores = scores.masked_fill(mask[:, None] == 0, -1e8)
        attended = torch.einsum("lhs,lsd->lhd", scores.softmax(-1), value).flatten(-2)
        return self.out(attended[:, None] * self.gate(x).sigmoid())


class TriangleAttention(nn.Module):
    """Triangle self-attention around the starting node (Algorithm 13).

    Around the ending node (Algorithm 14) it is the same on the transposed pair representation.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pair_bias = nn.Linear(width, heads, bias=False)
        self.attention = GatedAttention(width, heads)

    def forward(
        self, pair: Float[Tensor, "length length width"], mask: Float[Tensor, "length length"]
    ) -> Float[Tensor, "length length width"]:
        """Edges that begin at the same residue attend to each other; the third edge adds to their scores."""
        bias = pair_scores(pair, ScoreWeights(self.norm.weight, self.norm.bias, self.pair_bias.weight))
        return self.attention.add_to(pair, self.norm, mask, bias)
