"""Representations changed slice by slice: what each slice needs in between fits a budget of bytes, and on a CPU each
core has a slice of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from chaperonin.kernels.cores import core_count, on_cores

_DEFAULT = {"cpu": 4 << 20, "cuda": 512 << 20}
"""About what a core's cache holds: larger slices are slower, and much smaller ones too. A GPU wants large products."""
_settings: dict[str, int | None] = {"bytes": None}


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

    def work(rows: slice) -> None:
        own = x[rows]
        own += update(own, *(one[rows] for one in along))

    each_slice(x, row_floats, work)
    return x


def change(x: Tensor, update: Callable[..., Tensor], row_floats: int, *along: Tensor) -> Tensor:
    """update(x, *along) in the same way: without gradient x is overwritten."""
    if torch.is_grad_enabled():
        return update(x, *along)
    return _fill(x, update, row_floats, x, *along)


def fill(shape: tuple[int, ...], compute: Callable[..., Tensor], row_floats: int, *along: Tensor) -> Tensor:
    """compute(*along), which is of this shape, in the same way, in memory of its own; of the first one's type."""
    if torch.is_grad_enabled():
        return compute(*along)
    return _fill(along[0].new_empty(shape), compute, row_floats, *along)


def _fill(result: Tensor, compute: Callable[..., Tensor], row_floats: int, *along: Tensor) -> Tensor:
    def work(rows: slice) -> None:
        result[rows] = compute(*(one[rows] for one in along))

    each_slice(result, row_floats, work)
    return result


def each_slice(x: Tensor, row_floats: int, work: Callable[[slice], None], least: int = 1) -> None:
    """work(rows) for slices that together are all rows of x. No slice may read what another one writes.

    `row_floats`: numbers that a row needs in between; `least`: rows below which products are slow.
    """
    cores = core_count() if x.device.type == "cpu" and not torch.is_grad_enabled() else 1
    parts = list(slices(len(x), row_floats * x.element_size(), x.device.type, cores, least))
    if cores == 1 or len(parts) == 1:
        for rows in parts:
            work(rows)
    else:
        on_cores(parts, work)


def slices(rows: int, row_bytes: int, device: str = "cpu", cores: int = 1, least: int = 1) -> Iterator[slice]:
    """Neighbouring rows that fit the budget, as many slices for each core; sizes differ by a row, the largest first."""
    default, budget = _default(device), slice_budget(device)
    fit = max(budget // max(1, row_bytes), int(least * min(1.0, budget / default)), 1)
    count = -(-rows // fit)
    if rows >= cores * least:
        count = -(-count // cores) * cores
    count = min(count, rows)
    for number in range(count):
        yield slice(-(-number * rows // count), -(-(number + 1) * rows // count))


def most_bytes(rows: int, row_floats: int, device: str = "cpu", least: int = 1) -> int:
    """What all slices that are computed at once hold, in fp32."""
    cores = torch.get_num_threads() if device == "cpu" else 1
    first = next(slices(rows, 4 * row_floats, device, cores, least), slice(0, 0))
    return min(cores * first.stop, rows) * 4 * row_floats


def slice_budget(device: str = "cpu") -> int:
    """The budget now: what was asked for, or what suits the device."""
    return _default(device) if _settings["bytes"] is None else _settings["bytes"]


def _default(device: str) -> int:
    return _DEFAULT.get(device, _DEFAULT["cuda"])
