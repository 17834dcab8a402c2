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

__all__ = ["Batch", "fill_up", "make_batch", "plan_batches"]


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


def fill_up(
    tokens: Int[Tensor, " tokens"], segments: Segments, step: int, pad: int
) -> tuple[Tensor, Segments]:
    """The stream with one more segment, of `pad`, that makes its tokens a multiple of `step`; the first ones stay."""
    missing = -segments.total % step
    if not missing:
        return tokens, segments
    filled = torch.cat([tokens, tokens.new_full((missing,), pad)])
    return filled, Segments([*segments.lengths, missing])
