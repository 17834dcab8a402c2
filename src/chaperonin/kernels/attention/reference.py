"""Attention as the formula says: one segment at a time, every score written out."""

import torch
from torch import Tensor

from chaperonin.kernels.segments import Segments

NAME = "reference"
NOTE = "the formula; any device and dtype"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> bool:
    """Everything."""
    return True


def attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """softmax(scale · query keyᵀ) value, per segment and head; the softmax in fp32 at least."""
    exact = torch.promote_types(query.dtype, torch.float32)
    attended = []
    for start, length in zip(segments.starts, segments.lengths, strict=True):
        own = slice(start, start + length)
        scores = torch.einsum("qhd,khd->hqk", query[own], key[own]) * scale
        weights = scores.softmax(dim=-1, dtype=exact).to(value.dtype)
        attended.append(torch.einsum("hqk,khd->qhd", weights, value[own]))
    return torch.cat(attended)
