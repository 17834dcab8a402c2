"""Groups whose weights were laid out for the processor or rounded to 8 bits, one after the other."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.kernels.grouped_matmul.gates import Gate, gated
from chaperonin.kernels.grouped_matmul.rows import row_counts
from chaperonin.kernels.linear import Weight, linear, operation

NAME = "packed_cpu"
NOTE = "each group by the linear kernel that takes its prepared weight (oneDNN, 8 bits)"


BLOCK_ROWS = 512
"""Rows of one product: what a gate makes half as wide exists for so many rows at once."""


@dataclass(frozen=True)
class PackedGroups:
    """One prepared weight per group."""

    weights: tuple[Weight, ...]


def lacks() -> str:
    """Nothing of its own: what prepares the weights says what is missing."""
    return ""


def supports(x: Tensor, weight: Any, bias: Tensor | None, counts: Tensor, gate: Gate | None) -> bool:
    """Prepared weights, and rows that the linear kernel takes with them."""
    if not isinstance(weight, PackedGroups) or x.device.type != "cpu":
        return False
    bodies = operation.bodies.values()
    return any(body.supports(x, weight.weights[0], None, None, None) for body in bodies)


def grouped_matmul(
    x: Tensor, weight: PackedGroups, bias: Tensor | None, counts: Tensor, gate: Gate | None
) -> Tensor:
    """Group after group, each gated before the next; a group without rows only where there are no rows at all."""
    biases = [None] * len(weight.weights) if bias is None else bias.unbind()
    parts = [
        gated(linear(rows, own, add), gate)
        for group, own, add in zip(x.split(row_counts(counts, len(x))), weight.weights, biases, strict=True)
        for rows in group.split(BLOCK_ROWS)
        if len(rows) or not len(x)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
