"""Where each sequence starts and ends in a packed stream."""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from chaperonin.shapes import Int


class Segments:
    """Lengths of the sequences that lie one after the other in a stream of tokens.

    Lengths are known on the host, so that nothing here waits for a device; tensors made from them are kept
    per device.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = tuple(int(length) for length in lengths)
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"a packed stream needs segments of at least one token, got {self.lengths[:8]}")
        self._tensors: dict[tuple[str, torch.device], Tensor] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def total(self) -> int:
        """Tokens in the stream."""
        return sum(self.lengths)

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest segment."""
        return max(self.lengths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First token of each segment."""
        return tuple(accumulate(self.lengths[:-1], initial=0))

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """Neighbours of equal length as (first token, segments, length): each run is a dense batch."""
        runs: list[list[int]] = []
        for start, length in zip(self.starts, self.lengths, strict=True):
            if runs and runs[-1][2] == length:
                runs[-1][1] += 1
            else:
                runs.append([start, 1, length])
        return tuple((start, count, length) for start, count, length in runs)

    def offsets(self, device: torch.device) -> Int[Tensor, " segments_and_one"]:
        """Starts of all segments and the end of the last (int32, as variable-length kernels want them)."""
        return self._kept("offsets", device, [*self.starts, self.total], torch.int32)

    def positions(self, device: torch.device) -> Int[Tensor, " tokens"]:
        """Position of each token in its own segment, from 0."""
        ids = self.ids(device)
        key = ("positions", device)
        if key not in self._tensors:
            starts = self.offsets(device)[:-1].long()
            self._tensors[key] = torch.arange(self.total, device=device) - starts[ids]
        return self._tensors[key]

    def ids(self, device: torch.device) -> Int[Tensor, " tokens"]:
        """Number of the segment that each token belongs to."""
        key = ("ids", device)
        if key not in self._tensors:
            lengths = torch.tensor(self.lengths, device=device)
            numbers = torch.arange(len(self.lengths), device=device)
            self._tensors[key] = torch.repeat_interleave(numbers, lengths, output_size=self.total)
        return self._tensors[key]

    def _kept(self, name: str, device: torch.device, values: list[int], dtype: torch.dtype) -> Tensor:
        if (name, device) not in self._tensors:
            self._tensors[name, device] = torch.tensor(values, dtype=dtype, device=device)
        return self._tensors[name, device]
