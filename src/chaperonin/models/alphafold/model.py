"""AlphaFold 2 for one chain (Jumper et al. 2021, Nature 596:583; Algorithm 2), without recycling: one iteration.

An iteration reads one sample of the alignment and what the last iteration left. `inference.fold` runs several.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.embedding import ExtraEmbedding, InputEmbedding, Recycled, RecyclingEmbedding
from chaperonin.models.alphafold.evoformer import EvoformerBlock, pair_mask_of
from chaperonin.models.alphafold.features import Features
from chaperonin.models.alphafold.heads import Heads, Logits
from chaperonin.models.alphafold.structure import Structure, StructureModule
from chaperonin.models.alphafold.template import TemplateEmbedding, TemplateRows
from chaperonin.shapes import Float


@dataclass(frozen=True)
class Representations:
    """What the Evoformer found."""

    msa: Float[Tensor, "sequences length msa_width"]
    """Without the rows of templates."""
    pair: Float[Tensor, "length length pair_width"]
    single: Float[Tensor, "length single_width"]


@dataclass(frozen=True)
class Prediction:
    """One iteration's result."""

    structure: Structure
    logits: Logits
    representations: Representations

    def recycled(self) -> Recycled:
        """What the next iteration gets; no gradient goes back through it."""
        found = self.representations
        return Recycled(self.structure.positions.detach(), found.msa[0].detach(), found.pair.detach())


class AlphaFold(nn.Module):
    """Features to structure and confidence."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = InputEmbedding(config)
        self.recycling = RecyclingEmbedding(config)
        self.templates = TemplateEmbedding(config) if config.templates else None
        self.template_rows = TemplateRows(config) if config.templates else None
        self.extra_embedding = ExtraEmbedding(config)
        widths = (config.pair_width, config.msa_heads, config.pair_heads, config.outer_product_width)
        self.extra_blocks = nn.ModuleList(
            EvoformerBlock(config.extra_msa_width, *widths, is_extra=True)
            for _ in range(config.extra_msa_blocks)
        )
        self.blocks = nn.ModuleList(EvoformerBlock(config.msa_width, *widths) for _ in range(config.blocks))
        self.single = nn.Linear(config.msa_width, config.single_width)
        self.structure = StructureModule(config)
        self.heads = Heads(config)

    def forward(self, features: Features, last: Recycled | None = None) -> Prediction:
        """One iteration (Algorithm 2, lines 4 to 23). Templates of `features` are for models that read them.

        Without gradient the pair representation is one tensor from its first to its last update: `last.pair` is
        overwritten.
        """
        found = self.represent(features, last)
        structure = self.structure(found.single, found.pair, features.aatype, features.mask)
        logits = self.heads(found.msa, found.pair, found.single, structure.single)
        return Prediction(structure, logits, found)

    def represent(self, features: Features, last: Recycled | None = None) -> Representations:
        """The Evoformer's part."""
        if last is None:
            last = Recycled.nothing(len(features.aatype), self.config, like=features.target)
        mask = pair_mask_of(features.mask)
        pair = self.embedding.add_pairs(self.recycling.pairs(features.aatype, last), features)
        pair = self._extra(features, self._templated(features, pair, mask), mask)
        msa = self.recycling.add_row(self.embedding.alignment(features), last)
        sequences, msa_mask = len(msa), features.msa_mask
        if self.template_rows is not None and features.templates is not None:
            rows, rows_mask = self.template_rows(features.templates)
            msa, msa_mask = torch.cat([msa, rows]), torch.cat([msa_mask, rows_mask])
        for block in self.blocks:
            msa, pair = block(msa, pair, msa_mask, mask)
        return Representations(msa[:sequences], pair, self.single(msa[0]))

    def _templated(
        self,
        features: Features,
        pair: Float[Tensor, "length length pair_width"],
        mask: Float[Tensor, "length length"],
    ) -> Float[Tensor, "length length pair_width"]:
        if self.templates is None or features.templates is None:
            return pair
        return self.templates(pair, features.templates, mask)

    def _extra(
        self,
        features: Features,
        pair: Float[Tensor, "length length pair_width"],
        mask: Float[Tensor, "length length"],
    ) -> Float[Tensor, "length length pair_width"]:
        extra = self.extra_embedding(features)
        for block in self.extra_blocks:
            extra, pair = block(extra, pair, features.extra_msa_mask, mask)
        return pair
