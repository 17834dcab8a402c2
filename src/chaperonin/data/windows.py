"""Long sequences in windows: every residue has context on both sides, results are blended where windows overlap.

This scheme is for embeddings and contacts; scores have their own in `score_windows`, whose places and weights are
ProteinGym's, so that its scores can be reproduced.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW = 1022
"""Residues that ESM was trained to see at once (1,024 tokens with both ends)."""
OVERLAP = 256
"""Residues that neighbouring windows share at least."""


@dataclass(frozen=True)
class Window:
    """Residues start … stop of a sequence, from 0."""

    start: int
    stop: int


def windows(length: int, size: int = WINDOW, overlap: int = OVERLAP) -> list[Window]:
    """Evenly spaced windows that cover a sequence; one window when it fits."""
    if length <= size:
        return [Window(0, length)]
    count = -(-(length - overlap) // (size - overlap))
    starts = [round(number * (length - size) / (count - 1)) for number in range(count)]
    return [Window(start, start + size) for start in starts]


def blend_weights(window: Window, length: int, overlap: int = OVERLAP) -> NDArray[np.float32]:
    """Weight of each residue of a window: rises from its inner edges, flat towards the sequence's own ends."""
    position = np.arange(window.start, window.stop)
    weights = np.full(position.shape, float(overlap), dtype=np.float32)
    if window.start > 0:
        weights = np.minimum(weights, position - window.start + 1)
    if window.stop < length:
        weights = np.minimum(weights, window.stop - position)
    return (weights / overlap).astype(np.float32)


def blend(parts: Sequence[NDArray[np.float32]], spans: Sequence[Window], length: int) -> NDArray[np.float32]:
    """One array `[length, …]` from those of its windows, weighted where they overlap."""
    if len(parts) == 1:
        return parts[0]
    total = np.zeros((length, *parts[0].shape[1:]), dtype=np.float32)
    weight = np.zeros(length, dtype=np.float32)
    for part, span in zip(parts, spans, strict=True):
        own = blend_weights(span, length)
        total[span.start : span.stop] += part * own[:, None]
        weight[span.start : span.stop] += own
    total /= weight[:, None]
    return total


def blend_maps(parts: Iterable[NDArray[np.float32]], length: int) -> NDArray[np.float32]:
    """One map `[length, length]` from those of the sequence's windows, in their order; NaN where no window saw both."""
    total = np.zeros((length, length), dtype=np.float32)
    weight = np.zeros((length, length), dtype=np.float32)
    for part, span in zip(parts, windows(length), strict=True):
        own = slice(span.start, span.stop)
        edge = blend_weights(span, length)
        pair = np.minimum(edge[:, None], edge[None, :])
        total[own, own] += pair * part
        weight[own, own] += pair
    with np.errstate(invalid="ignore"):
        total /= weight
    return total
