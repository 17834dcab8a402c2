"""Windows over proteins that are longer than the 1,024 tokens ESM was trained on, as ProteinGym places them.

A window is a slice of the tokens `<cls> sequence <eos>`: one from the middle of a protein has neither end.
Embeddings and contacts use `data.windows` instead, where every window has both ends and lies evenly spaced.
"""

import numpy as np
from numpy.typing import NDArray

WINDOW_TOKENS = 1024
"""Longest stretch of tokens in ESM's training: 1,022 residues and two ends."""

_STRIDE = 511
_SLOPE_TOKENS = 256


def optimal_window(token: int, length: int) -> tuple[int, int]:
    """Start and stop of the window with `token` in its middle, moved inwards at the ends of the `length`."""
    if length <= WINDOW_TOKENS:
        return 0, length
    start = min(max(token - WINDOW_TOKENS // 2, 0), length - WINDOW_TOKENS)
    return start, start + WINDOW_TOKENS


def overlapping_windows(length: int) -> list[tuple[int, int]]:
    """Windows over `length` tokens: from both ends inwards by 511, and one more where they meet narrowly."""
    if length <= WINDOW_TOKENS:
        return [(0, length)]
    windows = []
    left = 0
    while True:
        right = length - WINDOW_TOKENS - left
        windows += [(left, left + WINDOW_TOKENS), (right, right + WINDOW_TOKENS)]
        overlap = left + WINDOW_TOKENS - right
        if overlap > 1:
            break
        left += _STRIDE
    if overlap < _STRIDE:
        middle = length // 2 - WINDOW_TOKENS // 2
        windows.append((middle, middle + WINDOW_TOKENS))
    return windows


def window_weights(official: bool = False) -> NDArray[np.float64]:
    """Trust in each token of a window: 1 in the middle, a sigmoid slope of 256 tokens to both ends.

    ProteinGym's script leaves full weight on the first and the last token, where the context is poorest;
    `official` keeps that, otherwise they get their neighbours' weight.
    """
    weights = np.ones(WINDOW_TOKENS)
    rise = np.arange(1, _SLOPE_TOKENS + 1)
    weights[rise] = 1 / (1 + np.exp(-(rise - 128) / 16))
    fall = np.arange(WINDOW_TOKENS - 2 - _SLOPE_TOKENS, WINDOW_TOKENS - 1)
    weights[fall] = 1 / (1 + np.exp((fall - (WINDOW_TOKENS - 2) + 128) / 16))
    if not official:
        weights[0], weights[-1] = weights[1], weights[-2]
    return weights
