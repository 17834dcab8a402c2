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
from chaperonin.tasks.routing import Routing, balance_loss, router_z_loss, routings, usage

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
    """Tell 15 % of the residues from the rest; a mixture of experts also keeps its routers even and calm.

    `balance_weight` and `router_z_weight` count the two losses of the routers; 0 leaves one out.
    """

    def __init__(
        self,
        alphabet: Alphabet = ESM_ALPHABET,
        balance_weight: float = 0.0,
        router_z_weight: float = 0.0,
    ) -> None:
        self.alphabet = alphabet
        self.balance_weight = balance_weight
        self.router_z_weight = router_z_weight
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
        """Cross-entropy in nats and right answers, summed over the chosen residues.

        A model in training has the losses of its routers added; on the hold-out the loss is the cross-entropy alone.
        """
        with routings(model) as layers:
            hidden = model(batch.tokens, batch.segments)
        logits = model.lm_head(hidden[batch.positions]).float()  # type: ignore[operator]
        loss = nn.functional.cross_entropy(logits, batch.residues, reduction="sum")
        correct = (logits.detach().argmax(dim=-1) == batch.residues).sum()
        if not layers:
            return loss, {"accuracy": correct}
        auxiliary, metrics = self._of_routers(layers, batch.targets)
        if model.training and (self.balance_weight or self.router_z_weight):
            loss = loss + auxiliary
        return loss, {"accuracy": correct, **metrics}

    def _of_routers(self, layers: list[Routing], targets: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted losses of the routers, and the metrics, each times the targets.

        The loop divides sums by the targets of the whole step. So each batch's mean over its tokens comes in times its
        targets: the step has the mean of its batches, weighted by their targets, and the two weights mean the same
        whatever a batch holds and however many batches and processes make a step.
        """
        balance, router_z = balance_loss(layers), router_z_loss(layers)
        auxiliary = targets * (self.balance_weight * balance + self.router_z_weight * router_z)
        means = {"balance_loss": balance.detach(), "router_z_loss": router_z.detach(), **usage(layers)}
        return auxiliary, {name: targets * value for name, value in means.items()}
