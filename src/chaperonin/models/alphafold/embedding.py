"""From features to the first alignment and pair representations (Algorithms 3 to 5 and 32)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

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

    def forward(
        self, features: Features
    ) -> tuple[Float[Tensor, "sequences length msa_width"], Float[Tensor, "length length pair_width"]]:
        """Alignment and pair representation."""
        target = features.target
        pair = self.left(target)[:, None] + self.right(target)[None]
        return self.msa(features.msa) + self.target(target), pair + self._positions(features.residue_index)

    def _positions(self, residue_index: Int[Tensor, " length"]) -> Float[Tensor, "length length pair_width"]:
        """A product with one-hot rows picks columns of the weight."""
        apart = (residue_index[:, None] - residue_index[None]).clamp(-_FAR, _FAR) + _FAR
        layer = self.relative_position
        return (layer.weight.T + layer.bias)[apart]


class RecyclingEmbedding(nn.Module):
    """The result of the last iteration (Algorithm 32)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.distances = nn.Linear(_RECYCLED_BINS, config.pair_width)
        self.pair_norm = nn.LayerNorm(config.pair_width)
        self.msa_norm = nn.LayerNorm(config.msa_width)

    def forward(
        self, aatype: Int[Tensor, " length"], last: Recycled
    ) -> tuple[Float[Tensor, "length msa_width"], Float[Tensor, "length length pair_width"]]:
        """What is added to the first row of the alignment, and to the pairs."""
        bins = distance_bins(
            pseudo_beta(aatype, last.positions), _RECYCLED_NEAREST, _RECYCLED_FARTHEST, _RECYCLED_BINS
        )
        return self.msa_norm(last.msa_row), self.distances(bins) + self.pair_norm(last.pair)


class ExtraEmbedding(nn.Module):
    """Sequences that are no cluster centres (Algorithm 2, line 15)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.embed = nn.Linear(EXTRA_CHANNELS, config.extra_msa_width)

    def forward(self, features: Features) -> Float[Tensor, "extra length extra_msa_width"]:
        """Residue one-hot, whether and how much is deleted before it."""
        deletions = torch.stack([features.extra_has_deletion, features.extra_deletion], dim=-1)
        residues = one_hot(features.extra_msa, EXTRA_CHANNELS - 2).to(deletions.dtype)
        return self.embed(torch.cat([residues, deletions], dim=-1))


def distance_bins(
    points: Float[Tensor, "length 3"], nearest: float, farthest: float, bins: int
) -> Float[Tensor, "length length bins"]:
    """One-hot bin of each distance; none below the first edge (Algorithm 32, line 1)."""
    edges = torch.linspace(nearest, farthest, bins, device=points.device, dtype=points.dtype).square()
    squared = (points[:, None] - points[None]).square().sum(-1, keepdim=True)
    beyond = torch.cat([edges[1:], edges.new_tensor([1e8])])
    return ((squared > edges) & (squared < beyond)).to(points.dtype)
