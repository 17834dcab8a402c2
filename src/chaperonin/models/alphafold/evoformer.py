"""The Evoformer (Algorithm 6), its variant for the extra alignment (Algorithm 18), and the pair updates of both."""

import torch
from torch import Tensor, nn

from chaperonin.kernels.outer_product_mean import outer_product_mean
from chaperonin.kernels.slices import fill
from chaperonin.kernels.transition import TransitionWeights, transition
from chaperonin.kernels.triangle_multiplication import TriangleWeights, triangle_multiplication
from chaperonin.models.alphafold.attention import (
    ColumnAttention,
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
        """Each place by itself: x with its update."""
        layers = (self.norm, self.up, self.down)
        return transition(
            x, TransitionWeights(*(own for layer in layers for own in (layer.weight, layer.bias)))
        )


class OuterProductMean(nn.Module):
    """From the alignment to pairs (Algorithm 10)."""

    def __init__(self, width: int, pair_width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 2 * channels)
        """Left, then right."""
        self.out = nn.Linear(channels * channels, pair_width)

    def forward(
        self,
        pair: Float[Tensor, "length length pair_width"],
        msa: Float[Tensor, "sequences length width"],
        mask: Float[Tensor, "sequences length"],
    ) -> Float[Tensor, "length length pair_width"]:
        """The pairs, with the mean over real sequences of the products of two residues added."""
        left, right = self._sides(msa, mask).chunk(2, dim=-1)
        return outer_product_mean(pair, left, right, mask, self.out.weight, self.out.bias)

    def _sides(self, msa: Tensor, mask: Tensor) -> Tensor:
        def project(rows: Tensor, mask: Tensor) -> Tensor:
            return self.project(self.norm(rows)) * mask[..., None]

        return fill((*mask.shape, self.project.out_features), project, 2 * msa.shape[1:].numel(), msa, mask)


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
        """The pairs, each with what the two other edges of every triangle that it belongs to say of it."""
        layers = (self.norm, self.project, self.gate, self.product_norm, self.out, self.out_gate)
        weights = TriangleWeights(*(own for layer in layers for own in (layer.weight, layer.bias)))
        return triangle_multiplication(pair, mask, weights, self.outgoing)


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
        return self.transition(pair)

    def _multiply(self, pair: Tensor, mask: Tensor) -> Tensor:
        return self.multiplication_incoming(self.multiplication_outgoing(pair, mask), mask)

    def _attend(self, pair: Tensor, mask: Tensor) -> Tensor:
        pair = self.attention_starting(pair, mask)
        return self.attention_ending(pair.transpose(0, 1), mask.T).transpose(0, 1)


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
        msa = self.row_attention(msa, pair, msa_mask)
        msa = self.column_attention(msa.transpose(0, 1), msa_mask.T).transpose(0, 1)
        msa = self.msa_transition(msa)
        pair = self.outer_product_mean(pair, msa, msa_mask)
        return msa, self.pair_updates(pair, pair_mask)


def pair_mask_of(mask: Float[Tensor, " length"]) -> Float[Tensor, "length length"]:
    """1 where both residues are real."""
    return torch.outer(mask, mask)
