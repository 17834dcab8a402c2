"""What the training loop needs to know of a task."""

from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn


class TaskBatch(Protocol):
    """Tensors of one forward pass."""

    @property
    def targets(self) -> float:
        """What the loss is summed over (residues, records, or their weights); known on the host."""
        ...

    @property
    def size(self) -> int:
        """Tokens that go through the model."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        ...


Batch = TypeVar("Batch", bound=TaskBatch)


class Task(Protocol[Batch]):
    """A loss and the batches it is computed on."""

    def collate(self, records: Sequence[Any], generator: np.random.Generator) -> Batch:
        """A batch of records; whatever is random in it comes from the generator."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and metrics, each summed over the batch's targets.

        Sums, not means: the loop divides by the targets of the whole step, so that several small batches give the
        gradient of one large one.
        """
        ...
