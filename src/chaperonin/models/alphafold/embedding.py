"""From features to the first alignment and pair representations (Algorithms 3 to 5 and 32)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from chaperonin.kernels.slices import add, change, fill
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.features import Features
from chaperonin.protein.torsions import pseudo_beta
from chaperonin.shapes import Float, Int

TARGET_CHANNELS, MSA_CHANNELS, EXTRA_CHANNELS = 22, 49, 25
_FAR = 32
"""Residues along the chain beyond which all distances are alike."""
_RECYCLED_BINS, _RECYCLED_NEAREST, _RECYCLED_FARTHEST = 15, 3.25, 20.75


@dataclass(frozen=True)
class Recycled:
    """What an iteration hands on to the next."""

    positions: Float[Tensor, "length 37 3"]
    """Å."""
    msa_row: Float[Tensor, "length msa_width"]
    """Of the sequence itself."""
    pair: Float[Tensor, "length length pair_width"]

    @staticmethod
    def nothing(length: int, config: AlphaFoldConfig, like: Tensor) -> "Recycled":
        """Before the first iteration. Zeros are embedded too: the embedding's biases count."""
        return Recycled(
            like.new_zeros(length, 37, 3),
            like.new_zeros(length, config.msa_width),
            like.new_zeros(length, length, config.pair_width),
        )


class InputEmbedding(nn.Module):
    """Sequence and clusters (Algorithms 3 and 4)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.target = nn.Linear(TARGET_CHANNELS, config.msa_width)
        self.msa = nn.Linear(MSA_CHANNELS, config.msa_width)
        self.left = nn.Linear(TARGET_CHANNELS, config.pair_width)
        self.right = nn.Linear(TARGET_CHANNELS, config.pair_width)
        self.relative_position = nn.Linear(2 * _FAR + 1, config.pair_width)

    def alignment(self, features: Features) -> Float[Tensor, "sequences length msa_width"]:
        """The alignment representation."""
        target = self.target(features.target)
        return add(self.msa(features.msa), lambda own: target, target.numel())

    def add_pairs(
        self, pair: Float[Tensor, "length length pair_width"], features: Features
    ) -> Float[Tensor, "length length pair_width"]:
        """The pairs with both residues and their distance along the chain added."""
        right, index = self.right(features.target), features.residue_index

        def update(own: Tensor, left: Tensor, rows: Tensor) -> Tensor:
            return left[:, None] + right + self._positions(rows, index)

        return add(pair, update, 3 * pair[0].numel(), self.left(features.target), index)

    def _positions(
        self, left: Int[Tensor, " rows"], right: Int[Tensor, " length"]
    ) -> Float[Tensor, "rows length pair_width"]:
        """A product with one-hot rows picks columns of the weight."""
        apart = (left[:, None] - right).clamp(-_FAR, _FAR) + _FAR
        layer = self.relative_position
        return (layer.weight.T + layer.bias)[apart]


class RecyclingEmbedding(nn.Module):
    """The result of the last iteration (Algorithm 32)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.distances = nn.Linear(_RECYCLED_BINS, config.pair_width)
        self.pair_norm = nn.LayerNorm(config.pair_width)
        self.msa_norm = nn.LayerNorm(config.msa_width)

    def add_row(
        self, msa: Float[Tensor, "sequences length msa_width"], last: Recycled
    ) -> Float[Tensor, "sequences length msa_width"]:
        """The alignment with the last first row, normalised, added to its first."""
        row = self.msa_norm(last.msa_row)
        if torch.is_grad_enabled():
            return torch.cat([msa[:1] + row, msa[1:]])
        msa[0] += row
        return msa

    def pairs(
        self, aatype: Int[Tensor, " length"], last: Recycled
    ) -> Float[Tensor, "length length pair_width"]:
        """The normalised pairs with their distances; without gradient `last.pair` is overwritten."""
        beta = pseudo_beta(aatype, last.positions)

        def embed(pair: Tensor, rows: Tensor) -> Tensor:
            bins = distance_bins(rows, beta, _RECYCLED_NEAREST, _RECYCLED_FARTHEST, _RECYCLED_BINS)
            return self.distances(bins) + self.pair_norm(pair)

        return change(last.pair, embed, 3 * last.pair[0].numel(), beta)


class ExtraEmbedding(nn.Module):
    """Sequences that are no cluster centres (Algorithm 2, line 15)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(EXTRA_CHANNELS, config.extra_msa_width)

    def forward(self, features: Features) -> Float[Tensor, "extra length extra_msa_width"]:
        """Residue one-hot, whether and how much is deleted before it."""
        given = (features.extra_deletion, features.extra_has_deletion, features.extra_msa)
        shape = (*features.extra_msa.shape, self.embed.out_features)
        return fill(shape, self._rows, 4 * EXTRA_CHANNELS * shape[1], *given)

    def _rows(
        self,
        deletion: Float[Tensor, "rows length"],
        has_deletion: Float[Tensor, "rows length"],
        residues: Int[Tensor, "rows length"],
    ) -> Float[Tensor, "rows length extra_msa_width"]:
        kinds = one_hot(residues, EXTRA_CHANNELS - 2).to(deletion.dtype)
        return self.embed(torch.cat([kinds, has_deletion[..., None], deletion[..., None]], dim=-1))


def distance_bins(
    left: Float[Tensor, "rows 3"],
    right: Float[Tensor, "length 3"],
    nearest: float,
    farthest: float,
    bins: int,
) -> Float[Tensor, "rows length bins"]:
    """One-hot bin of each distance; none below the first edge (Algorithm 32, line 1)."""
    edges = torch.linspace(nearest, farthest, bins, device=left.device, dtype=left.dtype).square()
    squared = (left[:, None] - right).square().sum(-1, keepdim=True)
    beyond = torch.cat([edges[1:], edges.new_tensor([1e8])])
    return ((squared > edges) & (squared < beyond)).to(left.dtype)
