"""Updates added to a representation slice by slice, so that what each needs in between fits a budget of bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_settings = {"bytes": 4 << 20}
"""About what a processor's cache holds: larger slices are slower, and much smaller ones too."""


@contextmanager
def slice_bytes(budget: int) -> Iterator[None]:
    """Another budget inside."""
    before = _settings["bytes"]
    _settings["bytes"] = budget
    try:
        yield
    finally:
        _settings["bytes"] = before


def add(x: Tensor, update: Callable[..., Tensor], row_floats: int, *along: Tensor) -> Tensor:
    """x + update(x, *along): each row of the update reads that row of x, and of `along`, alone.

    With gradient at once; without in slices and in place: x is overwritten. `row_floats`: numbers that a row needs
    in between.
    """
    if torch.is_grad_enabled():
        return x + update(x, *along)
    for rows in slices(len(x), row_floats * x.element_size()):
        own = x[rows]
        own += update(own, *(one[rows] for one in along))
    return x


def slices(rows: int, row_bytes: int) -> Iterator[slice]:
    """Neighbouring rows, about equally many in each, that fit the budget; at least one."""
    count = -(-rows * row_bytes // _settings["bytes"])
    size = max(1, -(-rows // max(1, count)))
    for start in range(0, rows, size):
        yield slice(start, start + size)
