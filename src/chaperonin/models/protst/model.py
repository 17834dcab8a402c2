"""ProtST (Xu et al. 2023, ICML, arXiv:2301.12040): vectors of proteins and of texts in one space.

A protein language model and a text model, each with a projection of its whole (protein, text) and of its parts
(residues, words). A protein and its description lie in the same direction; the temperature says how strictly.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chaperonin.errors import WeightsError
from chaperonin.kernels.segments import Segments
from chaperonin.models.protst.fusion import Fusion
from chaperonin.models.protst.text import TextBatch, run_text_tower
from chaperonin.shapes import Float

RESIDUES = "GASPVTCILNDQKEMHFRYW"
"""The classes of masked residues, in the order of the published heads."""
START_TEMPERATURE = 0.07
"""Where training begins."""


@dataclass(frozen=True)
class ProtSTConfig:
    """Sizes of a ProtST."""

    protein: Any
    """Configuration of the protein tower; it has a `width`."""
    text: Mapping[str, Any] | None
    """What `config.json` says of the text tower (BERT's names), None where there is none."""
    width: int = 512
    """Channels of the common space."""
    fusion_heads: int = 8
    """Attention heads of the fusion module."""
    fusion_depth: int = 1
    """Its layers."""
    labels: tuple[str, ...] = ()
    """Classes of a checkpoint that was fine-tuned to tell them."""


class ProtST(nn.Module):
    """Protein tower, text tower and what joins them; parts that a checkpoint lacks are None."""

    def __init__(self, config: ProtSTConfig, protein: nn.Module, text: nn.Module | None) -> None:
        super().__init__()
        width, residue_width = config.width, config.protein.width
        self.config = config
        self.protein = protein
        self.protein_projection: Projection | None = Projection(residue_width, width)
        self.residue_projection: Projection | None = Projection(residue_width, width)
        self.text: nn.Module | None = None
        self.text_projection: Projection | None = None
        self.word_projection: Projection | None = None
        self.masked_word: Projection | None = None
        if text is not None and config.text is not None:
            self.text = text
            self.text_projection = Projection(config.text["hidden_size"], width)
            self.word_projection = Projection(config.text["hidden_size"], width)
            self.masked_word = Projection(width, config.text["vocab_size"])
        self.log_scale: nn.Parameter | None = nn.Parameter(torch.tensor(-math.log(START_TEMPERATURE)))
        self.fusion: Fusion | None = Fusion(width, config.fusion_heads, config.fusion_depth)
        self.masked_residue: Projection | None = Projection(width, len(RESIDUES))
        self.fused_residue: Projection | None = Projection(width, len(RESIDUES))
        self.classifier: Projection | None = None
        if config.labels:
            self.classifier = Projection(residue_width, len(config.labels))

    def protein_features(
        self, hidden: Float[Tensor, "tokens residue_width"], segments: Segments
    ) -> Float[Tensor, "proteins width"]:
        """One vector per protein, from the protein tower's representation, `<cls>` and `<eos>` included in it."""
        return self.project_proteins(
            torch.stack([own[1:-1].mean(0) for own in hidden.split(segments.lengths)])
        )

    def project_proteins(
        self, means: Float[Tensor, "proteins residue_width"]
    ) -> Float[Tensor, "proteins width"]:
        """The same from means over residues."""
        return _required(self.protein_projection, "projection of proteins")(means)

    def residue_features(
        self, hidden: Float[Tensor, "tokens residue_width"], segments: Segments
    ) -> Float[Tensor, "residues width"]:
        """One vector per residue, without ends."""
        residues = torch.cat([own[1:-1] for own in hidden.split(segments.lengths)])
        return _required(self.residue_projection, "projection of residues")(residues)

    def text_features(self, texts: TextBatch) -> Float[Tensor, "texts width"]:
        """One vector per text."""
        return self.project_texts(self.text_tower(texts), texts)

    def text_tower(self, texts: TextBatch) -> Float[Tensor, "texts length text_width"]:
        """The text model's own vectors, of every token."""
        return run_text_tower(_required(self.text, "text tower"), texts)

    def project_texts(
        self, hidden: Float[Tensor, "texts length text_width"], texts: TextBatch
    ) -> Float[Tensor, "texts width"]:
        """From the text tower's vectors to one per text: the mean over its words, projected."""
        counted = texts.is_word.to(hidden.dtype)
        # The published mean divides by the number of words and a millionth.
        means = torch.einsum("tlc,tl->tc", hidden, counted) / (counted.sum(1, keepdim=True) + 1e-6)
        return _required(self.text_projection, "projection of texts")(means)

    def word_features(
        self, hidden: Float[Tensor, "texts length text_width"]
    ) -> Float[Tensor, "texts length width"]:
        """One vector per word, from the text tower's."""
        return _required(self.word_projection, "projection of words")(hidden)

    def agreement(
        self, proteins: Float[Tensor, "proteins width"], texts: Float[Tensor, "texts width"]
    ) -> Float[Tensor, "proteins texts"]:
        """Cosine of every protein with every text, divided by the temperature."""
        scale = _required(self.log_scale, "temperature").exp()
        return scale * nn.functional.normalize(proteins, dim=-1) @ nn.functional.normalize(texts, dim=-1).T

    def classify(self, means: Float[Tensor, "proteins residue_width"]) -> Float[Tensor, "proteins classes"]:
        """Logits of the classes that the checkpoint was fine-tuned for, from means over residues."""
        return _required(self.classifier, "classifier")(means)


class Projection(nn.Module):
    """Two linear layers with a ReLU between them; the first one keeps the width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, inputs)
        self.out = nn.Linear(inputs, outputs)

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """out(relu(dense(x)))"""
        return self.out(torch.relu(self.dense(x)))


def _required(part: Any, name: str) -> Any:
    if part is None:
        raise WeightsError(f"this checkpoint has no {name}", advice="Use a ProtST that has one.")
    return part
