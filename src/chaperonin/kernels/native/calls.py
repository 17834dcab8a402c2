"""From tensors to the compiled functions: pointers, packed weights, and which rows each core takes."""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from chaperonin.kernels.cores import core_count
from chaperonin.kernels.native.library import lacks, library

_LIBRARY = torch.library.Library("chaperonin", "FRAGMENT")
_TURNS = 8
"""How often each core takes rows: when one is late, the others take more."""

Argument = Tensor | int | float | None


def takes(*tensors: Tensor | None) -> bool:
    """Whether compiled kernels run on these: on a CPU, in fp32, without gradient."""
    if torch.is_grad_enabled():
        return False
    given = (tensor for tensor in tensors if tensor is not None)
    return all(own.device.type == "cpu" and own.dtype == torch.float32 for own in given) and not lacks()


def require_shape(what: str, tensor: Tensor, *shape: int) -> None:
    """ValueError for another shape: the compiled functions would read past the end."""
    if tensor.shape != shape:
        raise ValueError(f"{what} is {list(tensor.shape)}, expected {list(shape)}")


def call(name: str, *arguments: Argument) -> None:
    """Run a function of the library; MemoryError where it finds no memory for what it holds in between."""
    if getattr(library(), f"chaperonin_{name}")(*map(_converted, arguments)):
        raise MemoryError(f"no memory for {name}")


def panel() -> int:
    """Columns of a panel of factors on this processor."""
    return int(library().chaperonin_panel())


def padded(count: int) -> int:
    """Filled up to whole panels."""
    return -(-count // panel()) * panel()


def packed(weight: Tensor) -> Tensor:
    """A weight `[outputs, inputs]` as panels of outputs, the order in which products read it."""
    outputs, inputs = weight.shape
    panels = weight.new_empty(padded(outputs) * inputs)
    share("pack", padded(outputs) // panel(), weight.contiguous(), outputs, inputs, panels)
    return panels


def share(name: str, rows: int, *arguments: Argument, step: int = 0) -> None:
    """Run a function of the library on all cores: each takes the next rows when it is free, `step` at a time."""
    cores = core_count()
    step = step or max(1, rows // (_TURNS * cores) if cores > 1 else rows)
    call(name, min(cores, -(-rows // step)), rows, step, *arguments)


def in_place(schema: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function an operator of PyTorch, by its schema; it changes its first argument and returns nothing."""

    def register(body: Callable[..., None]) -> Callable[..., None]:
        name = schema.partition("(")[0]
        _LIBRARY.define(schema)
        _LIBRARY.impl(name, body, "CPU")
        torch.library.register_fake(f"chaperonin::{name}", lambda *arguments: None)
        operator: Callable[..., None] = getattr(torch.ops.chaperonin, name)
        return operator

    return register


def _converted(argument: Argument) -> ctypes.c_void_p | ctypes.c_long | ctypes.c_float:
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if argument is None:
        return ctypes.c_void_p(None)
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_long(argument)
