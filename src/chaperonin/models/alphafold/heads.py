"""What is read from the representations besides atoms (supplement 1.9): logits, each over its own bins."""

from dataclasses import dataclass

from torch import Tensor, nn

from chaperonin.kernels.slices import fill
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.shapes import Float

LDDT_BINS, ERROR_BINS, DISTANCE_BINS = 50, 64, 64
_RESIDUES = 23
_CONFIDENCE_WIDTH = 128


@dataclass(frozen=True)
class Logits:
    """Logits of all heads."""

    lddt: Float[Tensor, "length 50"]
    """Of lDDT-Cα, 2 points a bin."""
    distogram: Float[Tensor, "length length 64"]
    """Of the distance of pseudo-β atoms, edges from 2.3125 to 21.6875 Å."""
    masked_msa: Float[Tensor, "sequences length 23"]
    """Of the residues of the alignment."""
    resolved: Float[Tensor, "length 37"]
    """Of whether an experiment would show the atom."""
    aligned_error: Float[Tensor, "length length 64"] | None
    """Of the error of residue j when residue i is aligned, edges from 0 to 31 Å."""


class Heads(nn.Module):
    """All heads; that of aligned errors only in the models that were trained with it."""

    def __init__(self, config: AlphaFoldConfig) -> None:
        super().__init__()
        self.lddt = LDDTHead(config.single_width)
        self.distogram = nn.Linear(config.pair_width, DISTANCE_BINS)
        self.masked_msa = nn.Linear(config.msa_width, _RESIDUES)
        self.resolved = nn.Linear(config.single_width, 37)
        self.aligned_error = nn.Linear(config.pair_width, ERROR_BINS) if config.aligned_error else None

    def forward(
        self,
        msa: Float[Tensor, "sequences length msa_width"],
        pair: Float[Tensor, "length length pair_width"],
        single: Float[Tensor, "length single_width"],
        structure: Float[Tensor, "length single_width"],
    ) -> Logits:
        """`structure`: the last activations of the structure module."""
        return Logits(
            lddt=self.lddt(structure),
            distogram=self._distances(pair),
            masked_msa=self.masked_msa(msa),
            resolved=self.resolved(single),
            aligned_error=None if self.aligned_error is None else self.aligned_error(pair),
        )

    def _distances(
        self, pair: Float[Tensor, "length length pair_width"]
    ) -> Float[Tensor, "length length 64"]:
        """The same for both orders of two residues."""

        def compute(there: Tensor, back: Tensor) -> Tensor:
            return self.distogram(there) + self.distogram(back)

        shape = (*pair.shape[:2], DISTANCE_BINS)
        return fill(shape, compute, 3 * DISTANCE_BINS * len(pair), pair, pair.transpose(0, 1))


class LDDTHead(nn.Module):
    """Confidence of each residue (Algorithm 29)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, _CONFIDENCE_WIDTH)
        self.second = nn.Linear(_CONFIDENCE_WIDTH, _CONFIDENCE_WIDTH)
        self.out = nn.Linear(_CONFIDENCE_WIDTH, LDDT_BINS)

    def forward(self, structure: Float[Tensor, "length single_width"]) -> Float[Tensor, "length 50"]:
        """Logits."""
        return self.out(self.second(self.first(self.norm(structure)).relu()).relu())
