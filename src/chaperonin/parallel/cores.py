"""Core-bound passes: on a CPU each core runs whole sequences of a batch by itself.

All cores in each product meet after it, hundreds of times in a pass, and each waits for the slowest. With sequences of
its own a core waits once, at the end.
"""

import os
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from chaperonin.kernels.cores import on_cores
from chaperonin.kernels.segments import Segments
from chaperonin.shapes import Float, Int

CORE_TOKENS = 512
"""Tokens that a core needs for its products to be fast."""
_IMBALANCE = 1.1
"""Most that the largest part may be of the mean: what cannot be shared evenly is better off with all cores."""
_IMBALANCE_OF_BUSY = 1.25
"""The same where threads of OpenMP do not sleep between products of all cores, and are in the way of others."""

Model = Callable[[Tensor, Segments], Tensor]


def run_on_cores(
    model: Model, tokens: Int[Tensor, " tokens"], segments: Segments
) -> Float[Tensor, "tokens width"]:
    """model(tokens, segments) without gradient; on a CPU each core computes a part of the segments where it can.

    The model must not change while it computes: no adapters that are put in for one pass.
    """
    alone = tokens.device.type != "cpu" or getattr(model, "one_pass_at_a_time", False)
    parts = split(segments, 1 if alone else torch.get_num_threads())
    if len(parts) == 1:
        with torch.inference_mode():
            return model(tokens, segments)

    def run(own: slice) -> Tensor:
        first = segments.starts[own.start]
        mine = Segments(segments.lengths[own])
        return model(tokens[first : first + mine.total], mine)

    with torch.inference_mode():
        return torch.cat(on_cores(parts, run))


def split(segments: Segments, count: int) -> list[slice]:
    """`count` runs of neighbours of about equal tokens, or one of them all where these would be few or unequal."""
    whole = [slice(0, len(segments))]
    mean = segments.total / count
    if count == 1 or len(segments) < count or mean < CORE_TOKENS:
        return whole
    middles = [start + length / 2 for start, length in zip(segments.starts, segments.lengths, strict=True)]
    owner = [min(int(middle / mean), count - 1) for middle in middles]
    edges = [owner.index(number) if number in owner else -1 for number in range(count)] + [len(segments)]
    parts = [slice(first, last) for first, last in pairwise(edges)]
    sleeps = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
    most = (_IMBALANCE if sleeps else _IMBALANCE_OF_BUSY) * mean
    if -1 in edges or max(sum(segments.lengths[own]) for own in parts) > most:
        return whole
    return parts
