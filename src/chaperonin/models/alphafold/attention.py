"""Attention of the Evoformer: along rows and columns of the alignment, and around the nodes of triangles.

Every module returns what is to be added; each row of it depends on that row of the input and on the pair bias alone, so
rows may come in slices.
"""

import torch
from torch import Tensor, nn

from chaperonin.kernels.gated_attention import gated_attention
from chaperonin.kernels.slices import each_slice
from chaperonin.shapes import Float


class GatedAttention(nn.Module):
    """Self-attention with a gate and an optional pair bias, within each row of its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 4 * width, bias=False)
        """Query, key, value and gate, one below the other."""
        self.gate_bias = nn.Parameter(torch.ones(heads, width // heads))
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "rows length width"],
        mask: Float[Tensor, "rows length"],
        pair_bias: Float[Tensor, "heads length length"] | None = None,
    ) -> Float[Tensor, "rows length width"]:
        """x is normalised."""
        return self.out(gated_attention(self.project(x), mask, pair_bias, self.gate_bias))

    @staticmethod
    def row_floats(length: int, width: int) -> int:
        """Numbers in between for one row: normalised, projected, attended, the update."""
        return 7 * length * width


class RowAttention(nn.Module):
    """MSA row-wise gated self-attention with pair bias (Algorithm 7)."""

    def __init__(self, width: int, pair_width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.pair_norm = nn.LayerNorm(pair_width)
        self.pair_bias = nn.Linear(pair_width, heads, bias=False)
        self.attention = GatedAttention(width, heads)

    def bias(self, pair: Float[Tensor, "length length pair_width"]) -> Float[Tensor, "heads length length"]:
        """The same for all sequences."""
        return pair_scores(pair, self.pair_norm, self.pair_bias)

    def forward(
        self,
        msa: Float[Tensor, "sequences length width"],
        mask: Float[Tensor, "sequences length"],
        bias: Float[Tensor, "heads length length"],
    ) -> Float[Tensor, "sequences length width"]:
        """Each sequence attends within itself."""
        return self.attention(self.norm(msa), mask, bias)


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
        return self.attention(self.norm(columns), mask)


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

    def bias(self, pair: Float[Tensor, "length length width"]) -> Float[Tensor, "heads length length"]:
        """The same for all rows."""
        return pair_scores(pair, self.norm, self.pair_bias)

    def forward(
        self,
        pair: Float[Tensor, "rows length width"],
        mask: Float[Tensor, "rows length"],
        bias: Float[Tensor, "heads length length"],
    ) -> Float[Tensor, "rows length width"]:
        """Edges that begin at the same residue attend to each other."""
        return self.attention(self.norm(pair), mask, bias)


def pair_scores(
    pair: Float[Tensor, "length length width"], norm: nn.LayerNorm, project: nn.Linear
) -> Float[Tensor, "heads length length"]:
    """What the pair representation adds to the scores of each head."""
    if torch.is_grad_enabled():
        return project(norm(pair)).permute(2, 0, 1)
    scores = pair.new_empty(project.out_features, *pair.shape[:2])

    def work(rows: slice) -> None:
        scores[:, rows] = project(norm(pair[rows])).permute(2, 0, 1)

    each_slice(pair, pair[0].numel(), work)
    return scores
