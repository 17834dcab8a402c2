"""The Evoformer (Algorithm 6), its variant for the extra alignment (Algorithm 18), and the pair updates of both."""

from functools import partial

import torch
from torch import Tensor, nn

from chaperonin.kernels.outer_product_mean import outer_product_mean
from chaperonin.kernels.slices import add, slices
from chaperonin.kernels.triangle_multiplication import triangle_multiplication
from chaperonin.models.alphafold.attention import (
    ColumnAttention,
    GatedAttention,
    GlobalColumnAttention,
    RowAttention,
    TriangleAttention,
)
from chaperonin.shapes import Float


class Transition(nn.Module):
    """Two linear layers with a rectifier (Algorithms 9 and 15)."""

    def __init__(self, width: int, factor: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, factor * width)
        self.down = nn.Linear(factor * width, width)

    def forward(self, x: Float[Tensor, "rows length width"]) -> Float[Tensor, "rows length width"]:
        """Each place by itself."""
        hidden = self.up(self.norm(x))
        return self.down(hidden.relu() if torch.is_grad_enabled() else hidden.relu_())

    def row_floats(self, x: Tensor) -> int:
        """Numbers in between for one row: normalised, hidden, the update."""
        return x.shape[1:].numel() * (2 + self.up.out_features // self.up.in_features)


class OuterProductMean(nn.Module):
    """From the alignment to pairs (Algorithm 10)."""

    def __init__(self, width: int, pair_width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * channels)
        """Left, then right."""
        self.out = nn.Linear(channels * channels, pair_width)

    def forward(
        self, msa: Float[Tensor, "sequences length width"], mask: Float[Tensor, "sequences length"]
    ) -> Float[Tensor, "length length pair_width"]:
        """The mean over real sequences of the products of two residues."""
        left, right = self._sides(msa, mask).chunk(2, dim=-1)
        return outer_product_mean(left, right, mask, self.out.weight, self.out.bias)

    def _sides(self, msa: Tensor, mask: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self.project(self.norm(msa)) * mask[..., None]
        sides = msa.new_empty(*mask.shape, self.project.out_features)
        for rows in slices(len(msa), 2 * msa.shape[1:].numel() * msa.element_size()):
            torch.mul(self.project(self.norm(msa[rows])), mask[rows, :, None], out=sides[rows])
        return sides


class TriangleMultiplication(nn.Module):
    """Triangle multiplicative update along outgoing (Algorithm 11) or incoming edges (Algorithm 12)."""

    def __init__(self, width: int, outgoing: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * width)
        """Left, then right."""
        self.gate = nn.Linear(width, 2 * width)
        self.product_norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.out_gate = nn.Linear(width, width)
        self.outgoing = outgoing

    def forward(
        self, pair: Float[Tensor, "length length width"], mask: Float[Tensor, "length length"]
    ) -> Float[Tensor, "length length width"]:
        """Each edge from the two others of every triangle that it belongs to: what is to be added."""
        product = self.product(pair, mask)
        return self.update(pair, product.transpose(0, 1))

    def product(
        self, pair: Float[Tensor, "length length width"], mask: Float[Tensor, "length length"]
    ) -> Float[Tensor, "width length length"]:
        """The sum over the third residue."""
        norm, project, gate = ((own.weight, own.bias) for own in (self.norm, self.project, self.gate))
        return triangle_multiplication(pair, mask, norm, project, gate, self.outgoing)

    def update(
        self, pair: Float[Tensor, "rows length width"], product: Float[Tensor, "rows width length"]
    ) -> Float[Tensor, "rows length width"]:
        """Rows of what is to be added."""
        opened = self.out_gate(self.norm(pair)).sigmoid()
        return self.out(self.product_norm(product.transpose(1, 2))) * opened


class PairUpdates(nn.Module):
    """The second half of a block: pairs by triangles. Templates take another order."""

    def __init__(self, width: int, heads: int, factor: int = 4, attention_first: bool = False) -> None:
        super().__init__()
        self.multiplication_outgoing = TriangleMultiplication(width, outgoing=True)
        self.multiplication_incoming = TriangleMultiplication(width, outgoing=False)
        self.attention_starting = TriangleAttention(width, heads)
        self.attention_ending = TriangleAttention(width, heads)
        self.transition = Transition(width, factor)
        self.attention_first = attention_first

    def forward(
        self, pair: Float[Tensor, "length length width"], mask: Float[Tensor, "length length"]
    ) -> Float[Tensor, "length length width"]:
        """Four triangle updates and a transition, each added to what it read."""
        steps = [self._multiply, self._attend]
        for step in reversed(steps) if self.attention_first else steps:
            pair = step(pair, mask)
        return add(pair, self.transition, self.transition.row_floats(pair))

    def _multiply(self, pair: Tensor, mask: Tensor) -> Tensor:
        for multiplication in (self.multiplication_outgoing, self.multiplication_incoming):
            product = multiplication.product(pair, mask).transpose(0, 1)
            pair = add(pair, multiplication.update, 6 * pair[0].numel(), product)
        return pair

    def _attend(self, pair: Tensor, mask: Tensor) -> Tensor:
        for attention, along in ((self.attention_starting, (0, 1)), (self.attention_ending, (1, 0))):
            edges, bias = pair.permute(*along, 2), attention.bias(pair.permute(*along, 2))
            update = partial(attention, bias=bias)
            edges = add(edges, update, GatedAttention.row_floats(*pair.shape[1:]), mask.permute(*along))
            pair = edges.permute(*along, 2)
        return pair


class EvoformerBlock(nn.Module):
    """One block of the Evoformer (Algorithm 6); with global attention along columns, of the extra alignment (18)."""

    def __init__(
        self, width: int, pair_width: int, heads: int, pair_heads: int, channels: int, is_extra: bool = False
    ) -> None:
        super().__init__()
        self.row_attention = RowAttention(width, pair_width, heads)
        self.column_attention = (GlobalColumnAttention if is_extra else ColumnAttention)(width, heads)
        """Algorithm 8, or 19."""
        self.msa_transition = Transition(width)
        self.outer_product_mean = OuterProductMean(width, pair_width, channels)
        self.pair_updates = PairUpdates(pair_width, pair_heads)

    def forward(
        self,
        msa: Float[Tensor, "sequences length width"],
        pair: Float[Tensor, "length length pair_width"],
        msa_mask: Float[Tensor, "sequences length"],
        pair_mask: Float[Tensor, "length length"],
    ) -> tuple[Float[Tensor, "sequences length width"], Float[Tensor, "length length pair_width"]]:
        """First the alignment, then what it says of pairs, then the pairs. Without gradient both are overwritten."""
        sequences, length, width = msa.shape
        update = partial(self.row_attention, bias=self.row_attention.bias(pair))
        msa = add(msa, update, GatedAttention.row_floats(length, width), msa_mask)
        columns = msa.transpose(0, 1)
        columns = add(columns, self.column_attention, GatedAttention.row_floats(sequences, width), msa_mask.T)
        msa = add(columns.transpose(0, 1), self.msa_transition, self.msa_transition.row_floats(msa))
        pair = accumulate(pair, self.outer_product_mean(msa, msa_mask))
        return msa, self.pair_updates(pair, pair_mask)


def accumulate(x: Tensor, update: Tensor) -> Tensor:
    """x + update; without gradient in place."""
    return x + update if torch.is_grad_enabled() else x.add_(update)


def pair_mask_of(mask: Float[Tensor, " length"]) -> Float[Tensor, "length length"]:
    """1 where both residues are real."""
    return torch.outer(mask, mask)
