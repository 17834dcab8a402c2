"""Known structures as pairs and as rows of the alignment (Algorithms 2, 16 and 17)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from chaperonin.kernels.slices import add, change, fill
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.embedding import distance_bins
from chaperonin.models.alphafold.evoformer import PairUpdates
from chaperonin.models.alphafold.features import Templates
from chaperonin.protein.torsions import pseudo_beta, pseudo_beta_mask, torsions_of
from chaperonin.shapes import Float, Int

_BINS, _NEAREST, _FARTHEST = 39, 3.25, 50.75
_RESIDUES = 22
PAIR_CHANNELS = _BINS + 1 + 2 * _RESIDUES + 3 + 1
ANGLE_CHANNELS = _RESIDUES + 14 + 14 + 7
_TRANSITION_FACTOR = 2
_NOT_A_KEY = -1e8


class TemplateEmbedding(nn.Module):
    """What templates say of pairs."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        width = config.template_width
        self.embed = nn.Linear(PAIR_CHANNELS, width)
        self.blocks = nn.ModuleList(
            PairUpdates(width, config.pair_heads, _TRANSITION_FACTOR, attention_first=True)
            for _ in range(config.template_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.attention = TemplateAttention(config)

    def forward(
        self,
        pair: Float[Tensor, "length length pair_width"],
        templates: Templates,
        mask: Float[Tensor, "length length"],
    ) -> Float[Tensor, "length length pair_width"]:
        """The pairs with what is known of them; unchanged without any template."""
        each = zip(templates.aatype, templates.positions, templates.atom_mask, strict=True)
        embedded = [self._one(*own, mask) for own in each]
        seen = (templates.mask.sum() > 0).to(pair.dtype)

        def update(own: Tensor, *rows: Tensor) -> Tensor:
            return self.attention(own, torch.stack(rows), templates.mask) * seen

        return add(pair, update, (len(embedded) + 1) * 2 * pair[0].numel(), *embedded)

    def _one(
        self,
        aatype: Int[Tensor, " length"],
        positions: Float[Tensor, "length 37 3"],
        atom_mask: Float[Tensor, "length 37"],
        mask: Float[Tensor, "length length"],
    ) -> Float[Tensor, "length length template_width"]:
        """The pair stack of one template (Algorithm 16)."""
        sides = Sides.of(aatype, positions, atom_mask)
        shape = (*mask.shape, self.embed.out_features)
        pair = fill(
            shape, lambda *rows: self.embed(sides.pairs(*rows)), 3 * PAIR_CHANNELS * shape[1], *sides.rows
        )
        for block in self.blocks:
            pair = block(pair, mask)
        return change(pair, self.norm, pair[0].numel())


class TemplateAttention(nn.Module):
    """Template pointwise attention (Algorithm 17): each pair asks the same pair of all templates."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.pair_width, config.template_width, bias=False)
        self.key_value = nn.Linear(config.template_width, 2 * config.template_width, bias=False)
        self.out = nn.Linear(config.template_width, config.pair_width)
        self.heads = config.pair_heads

    def forward(
        self,
        pair: Float[Tensor, "rows length pair_width"],
        embedded: Float[Tensor, "templates rows length template_width"],
        mask: Float[Tensor, " templates"],
    ) -> Float[Tensor, "rows length pair_width"]:
        """What is added to some rows of the pairs. There is no gate here."""
        query = self.query(pair).unflatten(-1, (self.heads, -1))
        key, value = self.key_value(embedded).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        scores = torch.einsum("ijhd,tijhd->ijht", query * query.shape[-1] ** -0.5, key)
        weights = scores.masked_fill(mask == 0, _NOT_A_KEY).softmax(dim=-1)
        return self.out(torch.einsum("ijht,tijhd->ijhd", weights, value).flatten(-2))


class TemplateRows(nn.Module):
    """Torsion angles of templates as further rows of the alignment (Algorithm 2, lines 7 and 8)."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.up = nn.Linear(ANGLE_CHANNELS, config.msa_width)
        self.down = nn.Linear(config.msa_width, config.msa_width)

    def forward(
        self, templates: Templates
    ) -> tuple[Float[Tensor, "templates length msa_width"], Float[Tensor, "templates length"]]:
        """Rows and their mask: a residue counts where its psi is known."""
        torsions = torsions_of(templates.aatype, templates.positions, templates.atom_mask)
        angles = [torsions.angles.flatten(-2), torsions.alternative.flatten(-2), torsions.mask]
        residues = one_hot(templates.aatype, _RESIDUES).to(torsions.mask.dtype)
        rows = self.down(self.up(torch.cat([residues, *angles], dim=-1)).relu())
        return rows, torsions.mask[..., 2]


@dataclass(frozen=True)
class Sides:
    """What pairs of a template's residues are made of."""

    residues: Float[Tensor, "length residues"]
    beta: Float[Tensor, "length 3"]
    beta_mask: Float[Tensor, " length"]
    backbone: Float[Tensor, " length"]

    @staticmethod
    def of(
        aatype: Int[Tensor, " length"],
        positions: Float[Tensor, "length 37 3"],
        atom_mask: Float[Tensor, "length 37"],
    ) -> "Sides":
        """Of each residue: its kind, its pseudo-β atom, and whether its backbone is there."""
        residues = one_hot(aatype, _RESIDUES).to(positions.dtype)
        beta, known = pseudo_beta(aatype, positions), pseudo_beta_mask(aatype, atom_mask)
        return Sides(residues, beta, known, atom_mask[:, :3].prod(-1))

    @property
    def rows(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `pairs` reads of the residues on one side."""
        return self.beta, self.beta_mask, self.backbone, self.residues

    def pairs(
        self,
        beta: Float[Tensor, "rows 3"],
        beta_mask: Float[Tensor, " rows"],
        backbone: Float[Tensor, " rows"],
        residues: Float[Tensor, "rows residues"],
    ) -> Float[Tensor, "rows length channels"]:
        """Distances, residues of both sides, and whether both backbones are there.

        Differs from the paper: the published models were trained with the unit vectors between frames left at zero.
        """
        both = torch.outer(backbone, self.backbone)[..., None]
        shape = both.shape[:2]
        channels = [
            distance_bins(beta, self.beta, _NEAREST, _FARTHEST, _BINS),
            torch.outer(beta_mask, self.beta_mask)[..., None],
            self.residues.expand(*shape, -1),
            residues[:, None].expand(*shape, -1),
            both.new_zeros(*shape, 3),
            both,
        ]
        return torch.cat(channels, dim=-1) * both
