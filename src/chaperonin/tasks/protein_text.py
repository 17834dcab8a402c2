"""ProtST's pre-training: proteins and their texts find each other, hidden residues and hidden words are told.

Xu et al. 2023, section 3.3: contrast in both directions (InfoNCE, over the batch of all processes), masked residues
from the protein alone, and multimodal mask prediction, masked residues and words from protein and text together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chaperonin.data.pairs import Pair
from chaperonin.data.words import WordPieces
from chaperonin.kernels.segments import Segments
from chaperonin.models.protst import ProtST, TextBatch
from chaperonin.models.protst.model import RESIDUES
from chaperonin.parallel.gather import gather_rows
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.shapes import Float, Int

CHOSEN = 0.15
"""Share of residues, and of words, that are hidden."""


@dataclass(frozen=True)
class PairBatch:
    """Proteins in a packed stream, their texts, and what is hidden in both."""

    tokens: Int[Tensor, " tokens"]
    segments: Segments
    texts: TextBatch
    residue_places: Int[Tensor, " hidden"]
    """Places of hidden residues in the stream."""
    residues: Int[Tensor, " hidden"]
    """Which they are, as numbers of the published heads."""
    word_places: Int[Tensor, "words 2"]
    """Text and place in it of hidden words."""
    words: Int[Tensor, " words"]
    """Which they are."""
    kinds: Int[Tensor, " texts"]
    """Equal numbers for equal texts."""

    @property
    def targets(self) -> int:
        """Pairs."""
        return len(self.segments)

    @property
    def size(self) -> int:
        """Tokens of the proteins."""
        return self.segments.total

    def to(self, device: torch.device) -> "PairBatch":
        """The same batch on a device."""
        hidden = (self.residue_places, self.residues, self.word_places, self.words, self.kinds)
        moved = (own.to(device) for own in hidden)
        return PairBatch(self.tokens.to(device), self.segments, self.texts.to(device), *moved)


class ProteinText:
    """The task; weights say how much hidden residues (1) and both together (2) count beside the contrast."""

    def __init__(self, words: WordPieces, residue_weight: float = 1.0, fusion_weight: float = 1.0) -> None:
        self.words = words
        self.residue_weight, self.fusion_weight = residue_weight, fusion_weight
        self.class_of = np.full(len(ESM_ALPHABET), -1)
        self.class_of[ESM_ALPHABET.indices(RESIDUES)] = np.arange(len(RESIDUES))

    def collate(self, records: Sequence[Pair], generator: np.random.Generator) -> PairBatch:
        """Join proteins into a stream and texts into rows, and hide residues and words of them."""
        ends = ([ESM_ALPHABET.cls], [ESM_ALPHABET.eos])
        stream = np.concatenate([part for pair in records for part in (ends[0], pair.residues, ends[1])])
        stream = stream.astype(np.int64)
        chosen = (generator.random(len(stream)) < CHOSEN) & (self.class_of[stream] >= 0)
        places = np.flatnonzero(chosen) if self.residue_weight or self.fusion_weight else np.empty(0, int)
        residues = self.class_of[stream[places]]
        stream[places] = ESM_ALPHABET.mask
        texts = self.words.rows([list(pair.words) for pair in records])
        word_places, words = self._hide_words(texts, generator)
        return PairBatch(
            torch.from_numpy(stream),
            Segments([len(pair.residues) + 2 for pair in records]),
            texts,
            torch.from_numpy(places),
            torch.from_numpy(residues),
            word_places,
            words,
            torch.tensor([_kind(pair.words) for pair in records]),
        )

    def _hide_words(self, texts: TextBatch, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        if not self.fusion_weight:
            return torch.empty(0, 2, dtype=torch.long), torch.empty(0, dtype=torch.long)
        chance = torch.from_numpy(generator.random(tuple(texts.tokens.shape)))
        hidden = (chance < CHOSEN) & texts.is_word
        words = texts.tokens[hidden]
        texts.tokens[hidden] = self.words.mask
        return hidden.nonzero(), words

    def loss(self, model: nn.Module, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sums over the pairs; the losses of hidden residues and words are means over these, times the pairs."""
        assert isinstance(model, ProtST) and model.log_scale is not None
        hidden = model.protein(batch.tokens, batch.segments)
        words = model.text_tower(batch.texts)
        found = contrast(
            model.protein_features(hidden, batch.segments),
            model.project_texts(words, batch.texts),
            model.log_scale,
            batch.kinds,
            together=model.training,
        )
        loss = found.loss
        metrics = {"protein_to_text": found.proteins_right, "text_to_protein": found.texts_right}
        if self.residue_weight or self.fusion_weight:
            masked, seen = self._hidden_residues(model, hidden, words, batch)
            loss = loss + batch.targets * masked
            metrics |= {name: batch.targets * value.detach() for name, value in seen.items()}
        return loss, metrics

    def _hidden_residues(
        self, model: ProtST, hidden: Tensor, words: Tensor, batch: PairBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        residues = model.residue_features(hidden, batch.segments)
        # Without ends, a residue has moved up by two for each protein before its own, and by its own `<cls>`.
        places = batch.residue_places - 2 * batch.segments.ids(hidden.device)[batch.residue_places] - 1
        found: dict[str, Tensor] = {}
        total = hidden.new_zeros(())
        if self.residue_weight and model.masked_residue is not None:
            found["masked_residues"] = _mean_loss(model.masked_residue(residues[places]), batch.residues)
            total = total + self.residue_weight * found["masked_residues"]
        if self.fusion_weight and model.fusion is not None:
            assert model.fused_residue is not None and model.masked_word is not None
            own = Segments([length - 2 for length in batch.segments.lengths])
            fused, fused_words = model.fusion(residues, own, model.word_features(words), batch.texts.is_token)
            found["fused_residues"] = _mean_loss(model.fused_residue(fused[places]), batch.residues)
            texts, at = batch.word_places.unbind(1)
            found["fused_words"] = _mean_loss(model.masked_word(fused_words[texts, at]), batch.words)
            total = total + self.fusion_weight * (found["fused_residues"] + found["fused_words"])
        return total, found


class Contrast(NamedTuple):
    """What became of a batch, summed over its pairs."""

    loss: Tensor
    proteins_right: Tensor
    """Proteins that chose their own text."""
    texts_right: Tensor
    """Texts that chose their own protein."""


def contrast(
    proteins: Float[Tensor, "pairs width"],
    texts: Float[Tensor, "pairs width"],
    log_scale: Float[Tensor, ""],
    kinds: Int[Tensor, " pairs"] | None = None,
    together: bool = True,
) -> Contrast:
    """InfoNCE in both directions; `together`, the others of all processes are what a protein is told apart from.

    Pairs of one kind, with equal texts, are no opposites: the share that counts is that of all of them. Where all texts
    differ, this is the published loss.
    """
    with torch.autocast(
        proteins.device.type, enabled=False
    ):  # in bf16, the steps of logits are as large as the loss
        return _contrast(proteins.float(), texts.float(), log_scale.float(), kinds, together)


def _contrast(
    proteins: Tensor, texts: Tensor, log_scale: Tensor, kinds: Tensor | None, together: bool
) -> Contrast:
    unit = [nn.functional.normalize(vectors, dim=-1) for vectors in (proteins, texts)]
    if kinds is None:
        start = gather_rows(log_scale.new_zeros(len(proteins)))[1] if together else 0
        kinds = torch.arange(start, start + len(proteins), device=proteins.device)
    (all_proteins, all_texts, all_kinds) = (
        gather_rows(own)[0] if together else own for own in (*unit, kinds)
    )
    is_same = kinds[:, None] == all_kinds
    loss, right = log_scale.new_zeros(()), []
    for own, others in ((unit[0], all_texts), (unit[1], all_proteins)):
        logits = log_scale.exp() * own @ others.T
        same = logits.masked_fill(~is_same, -torch.inf)
        loss = loss + (logits.logsumexp(1) - same.logsumexp(1)).sum()
        right.append(is_same.gather(1, logits.detach().argmax(1, keepdim=True)).sum())
    return Contrast(loss, *right)


def _kind(words: NDArray[np.int64]) -> int:
    """A number that equal texts have in every process."""
    return int.from_bytes(sha256(words.tobytes()).digest()[:7], "little")


def _mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy; 0 where nothing was hidden."""
    if not len(targets):
        return logits.sum() * 0
    return nn.functional.cross_entropy(logits.float(), targets)
