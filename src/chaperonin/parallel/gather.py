"""Rows of all processes in each of them, with the gradient of what every process makes of them."""

from typing import Any

import torch
from torch import Tensor, distributed

from chaperonin.shapes import Float


def gather_rows(rows: Float[Tensor, "own width"]) -> tuple[Float[Tensor, "all width"], int]:
    """Rows of all processes in the order of their ranks, and where this process's own begin among them.

    Each process must bring equally many. The gradient that comes back to a row is the sum of what all processes ask of
    it, so that gradients of sums of losses, added up over processes, are those of one process with all rows.
    """
    if not distributed.is_available() or not distributed.is_initialized():
        return rows, 0
    return _Gather.apply(rows), distributed.get_rank() * len(rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        context.own = len(rows)
        gathered = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        distributed.all_reduce(summed)
        start = distributed.get_rank() * context.own
        return summed[start : start + context.own]
