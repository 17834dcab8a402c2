"""A ProtST ready to run: proteins and texts to vectors in one space."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.adapt.prepare import prepare
from chaperonin.data.prompts import Prompt
from chaperonin.data.windows import WINDOW
from chaperonin.data.words import LONGEST, PUBMEDBERT, WordPieces
from chaperonin.errors import UsageError, WeightsError
from chaperonin.inference.load import Origin, Precision
from chaperonin.kernels.hardware import choose_device
from chaperonin.layers.language import LanguageModel
from chaperonin.models import layout_of
from chaperonin.models.protst import ProtST
from chaperonin.models.protst.text import TextBatch
from chaperonin.tasks.features import in_chunks
from chaperonin.tasks.folder import trained_folder
from chaperonin.weights.files import read_config
from chaperonin.weights.hub import resolve
from chaperonin.weights.pretrained import load_folder

log = logging.getLogger(__name__)

KIND = "protst"
"""What `config.json` calls it."""
PUBLISHED = "mila-intel/ProtST-esm1b"
"""The published model."""
Compat = Literal["none", "published"]
"""`published` does as the published evaluation: texts without `[SEP]`, proteins cut at 1,022 residues."""
TEXTS_AT_ONCE = 32


@dataclass(frozen=True)
class Loaded:
    """A ProtST, its protein tower in the precision asked for and on its device, as everything else."""

    model: ProtST
    folder: Path
    device: torch.device

    @property
    def tower(self) -> LanguageModel:
        """The protein tower; `origin_of` says which model it is part of."""
        tower = self.model.protein
        assert isinstance(tower, LanguageModel)
        return tower

    @cached_property
    def words(self) -> WordPieces:
        """The vocabulary; WeightsError where it is missing, or another model's."""
        if self.model.text is None or self.model.config.text is None:
            raise WeightsError(
                "this checkpoint has no text tower",
                where=str(self.folder),
                advice="Use a ProtST that has one.",
            )
        words, known = WordPieces.of(self.folder), self.model.config.text["vocab_size"]
        if words.size > known:
            raise WeightsError(
                f"the vocabulary has {words.size:,} word pieces, the text tower {known:,}",
                where=str(words.path),
                advice=f"Put the one of {PUBMEDBERT[1]} there.",
            )
        return words

    def protein_vectors(
        self, sequences: Sequence[str], token_budget: int, compat: Compat = "none"
    ) -> NDArray[np.float32]:
        """`[proteins, width]`, of unit length; long ones from blended windows, or cut as published."""
        if compat == "published":
            sequences = [sequence[:WINDOW] for sequence in sequences]
        means = np.empty((len(sequences), self.tower.config.width), dtype=np.float32)
        for number, vectors in in_chunks(self.tower, sequences, token_budget):
            means[number] = vectors[1:].mean(axis=0)
        return self.project_proteins(means)

    def project_proteins(self, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same from means over residues, `[proteins, residue_width]`."""
        with torch.inference_mode():
            return _unit(self.model.project_proteins(torch.from_numpy(means).to(self.device)))

    def text_vectors(self, texts: Sequence[str], compat: Compat = "none") -> NDArray[np.float32]:
        """`[texts, width]`, of unit length; InputError for a text without words."""
        found = [np.empty((0, self.model.config.width), dtype=np.float32)]
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = texts[start : start + TEXTS_AT_ONCE]
            batch = self.words.batch(some, separator=compat == "none", longest=self.longest_text)
            found.append(self.project_texts(batch))
        return np.concatenate(found)

    def project_texts(self, batch: TextBatch) -> NDArray[np.float32]:
        """The same from word pieces."""
        with torch.inference_mode():
            return _unit(self.model.text_features(batch.to(self.device)))

    def tell_cut(self, prompts: Sequence[Prompt]) -> None:
        """Name the texts of which the model reads only the beginning."""
        cut = [one.label for one in prompts if len(self.words.pieces(one.text)) > self.longest_text]
        if cut:
            named = ", ".join(label[:40] for label in cut[:3])
            more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
            log.info("only the first %d word pieces are read of %s%s", self.longest_text, named, more)

    @property
    def longest_text(self) -> int:
        """Word pieces that are read of a text: 128, or what the text tower has places for beside the ends."""
        config = self.model.config.text or {}
        return min(LONGEST, config.get("max_position_embeddings", 512) - 2)

    @property
    def scale(self) -> float:
        """What cosines are multiplied by: one over the temperature."""
        if self.model.log_scale is None:
            raise UsageError("this checkpoint has no temperature", advice="Use a ProtST that reads text.")
        return float(self.model.log_scale.exp())


def load_protst(name: str = PUBLISHED, precision: Precision = "auto", device: str = "auto") -> Loaded:
    """A ProtST by hub name or folder; WeightsError for what is missing, UsageError for another model.

    precision is that of the protein tower; texts, of which there are few, are read in fp32.
    """
    where = choose_device(device, advice="Write --set device=cpu.")
    if not is_protst(name):
        raise UsageError(
            f"{name} does not read text", advice=f"Give a ProtST, such as {PUBLISHED}, with --model."
        )
    folder = resolve(name)
    model = load_folder(layout_of(KIND, where=str(folder)), folder).float().requires_grad_(False)
    assert isinstance(model, ProtST)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.to(where)
    model.protein, chosen = prepare(model.protein, precision, where)
    found = Loaded(model, folder, where)
    found.tower.origin = Origin(name, folder, chosen, str(where), parameters)  # type: ignore[assignment]
    return found


def is_protst(name: str) -> bool:
    """Whether the model, by hub name or folder, is a ProtST; WeightsError for one that is not there."""
    return trained_folder(name) is None and read_config(resolve(name)).get("model_type") == KIND


def _unit(vectors: torch.Tensor) -> NDArray[np.float32]:
    found = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    if not np.isfinite(found).all():
        raise WeightsError(
            "vectors that are not finite numbers",
            advice="The weights are damaged: fetch or convert them again.",
        )
    return found
