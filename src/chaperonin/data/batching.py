"""Sequences of tokens made into one packed stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.data.packing import plan_batches
from chaperonin.kernels.segments import Segments
from chaperonin.shapes import Int

__all__ = ["Batch", "make_batch", "plan_batches"]


@dataclass(frozen=True)
class Batch:
    """Sequences one after the other, without padding."""

    tokens: Int[Tensor, " tokens"]
    segments: Segments

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(self.tokens.to(device), self.segments)


def make_batch(arrays: Sequence[NDArray[np.int64]]) -> Batch:
    """Pack token arrays, each with its `<cls>` and `<eos>`, into one stream on the CPU."""
    tokens = torch.from_numpy(np.concatenate(arrays).astype(np.int64, copy=False))
    return Batch(tokens, Segments([len(array) for array in arrays]))
