"""Masked language modelling as ESM-2 was trained (Lin et al. 2023; the scheme is BERT's, Devlin et al. 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chaperonin.kernels.segments import Segments
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES, Alphabet
from chaperonin.shapes import Int

CHOSEN = 0.15
"""Share of residues that the model has to tell."""
MASKED, REPLACED = 0.8, 0.1
"""Of the chosen: shown as `<mask>`, shown as a random residue; the rest is shown as it is."""


@dataclass(frozen=True)
class MaskedBatch:
    """A packed stream with hidden residues."""

    tokens: Int[Tensor, " tokens"]
    segments: Segments
    positions: Int[Tensor, "targets"]
    """Places of the chosen residues in the stream."""
    residues: Int[Tensor, "targets"]
    """What stands there in truth."""

    @property
    def targets(self) -> int:
        """Chosen residues."""
        return len(self.positions)

    @property
    def size(self) -> int:
        """Tokens in the stream, `<cls>` and `<eos>` included."""
        return self.segments.total

    def to(self, device: torch.device) -> "MaskedBatch":
        """The same batch on a device."""
        return MaskedBatch(
            self.tokens.to(device), self.segments, self.positions.to(device), self.residues.to(device)
        )


class MaskedLanguage:
    """Tell 15 % of the residues from the rest."""

    def __init__(self, alphabet: Alphabet = ESM_ALPHABET) -> None:
        self.alphabet = alphabet
        self.standard = alphabet.indices(STANDARD_RESIDUES)
        self.can_be_chosen = np.zeros(len(alphabet), dtype=bool)
        self.can_be_chosen[self.standard] = True

    def collate(self, records: Sequence[NDArray[np.uint8]], generator: np.random.Generator) -> MaskedBatch:
        """Join sequences of ESM's token ids into a stream of the model's, and hide residues of it."""
        numbers = self.alphabet.translation(ESM_ALPHABET)
        sequences = [self.alphabet.framed(numbers[record]) for record in records]
        stream = np.concatenate(sequences)
        chance = generator.random(len(stream))
        positions = np.flatnonzero((chance < CHOSEN) & self.can_be_chosen[stream])
        shown = stream.copy()
        shown[positions] = self.show(stream[positions], generator)
        return MaskedBatch(
            torch.from_numpy(shown),
            Segments([len(own) for own in sequences]),
            torch.from_numpy(positions),
            torch.from_numpy(stream[positions]),
        )

    def show(self, residues: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """What stands in the stream in place of the chosen residues."""
        chance = generator.random(len(residues))
        random_residues = generator.choice(self.standard, len(residues))
        shown = np.where(chance < MASKED + REPLACED, random_residues, residues)
        return np.where(chance < MASKED, self.alphabet.mask, shown)

    def loss(self, model: nn.Module, batch: MaskedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy in nats and right answers, summed over the chosen residues."""
        hidden = model(batch.tokens, batch.segments)
        logits = model.lm_head(hidden[batch.positions]).float()  # type: ignore[operator]
        loss = nn.functional.cross_entropy(logits, batch.residues, reduction="sum")
        correct = (logits.detach().argmax(dim=-1) == batch.residues).sum()
        return loss, {"accuracy": correct}
