"""Tensors from a pickle that holds nothing but numpy arrays, without running anything that it names."""

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.weights.arrays import DAMAGED, FETCH_AGAIN, tensor_of

_PADDLE_NAMES = "StructuredToParameterName@@"
"""Where Paddle notes what it calls the parameters inside."""


def read_pickled_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a pickled dictionary, as Paddle writes its `.pdparams`.

    Nothing that the pickle names is imported or called: numpy's own words are played by the classes below, and any
    other word is a WeightsError.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, path).load()
    except (*DAMAGED, *_NO_PICKLE) as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise WeightsError(f"holds a {type(content).__name__}, no dictionary of arrays", where=str(path))
    content.pop(_PADDLE_NAMES, None)
    return {str(name): _named_tensor(name, value, path) for name, value in content.items()}


_NO_PICKLE = (pickle.UnpicklingError, LookupError, TypeError, AttributeError, MemoryError, RecursionError)


class _Type:
    """A numpy dtype as a pickle describes it."""

    def __init__(self, code: str, *_flags: Any) -> None:
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype:
        """ValueError for anything but numbers as processors of today hold them."""
        if self.order not in ("<", "=", "|") or self.code not in ("f2", "f4", "f8", "u2"):
            raise ValueError(f"an array of type {self.order}{self.code}")
        return np.dtype(f"<{self.code}")


class _Array:
    """A numpy array as a pickle describes it."""

    def __init__(self, *_arguments: Any) -> None:
        self.tensor: Tensor | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, content = state
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.tensor = _from_raw(bytearray(raw), kind, shape, by_columns)


def _from_raw(raw: bytearray, kind: _Type, shape: tuple[int, ...], by_columns: bool) -> Tensor:
    tensor = tensor_of(raw, tuple(shape), bool(by_columns), kind.dtype())
    # numpy has no bfloat16: Paddle writes its bits as whole numbers.
    return tensor.view(torch.bfloat16) if tensor.dtype == torch.uint16 else tensor


def _from_buffer(content: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    """What a pickle of protocol 5 calls in the place of the other two."""
    array = _Array()
    array.tensor = _from_raw(bytearray(content), kind, shape, order == "F")
    return array


def _encoded(text: str, encoding: str) -> bytes:
    """How a pickle of protocol 2 writes bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes as {encoding}")
    return text.encode("latin1")


_WORDS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encoded,
    ("collections", "OrderedDict"): dict,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
} | {
    (f"numpy.{core}.{module}", word): played
    for core in ("core", "_core")
    for module, word, played in (
        ("multiarray", "_reconstruct", _Array),
        ("numeric", "_frombuffer", _from_buffer),
    )
}
"""Module and name in a pickle → what stands in for it here."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _WORDS:
            raise WeightsError(
                f"refused: the file wants to use {module}.{name}, which is neither a number nor a plain container",
                where=str(self._path),
                advice="A checkpoint needs no such thing: it may run code. Get the model from its publisher.",
            )
        return _WORDS[module, name]


def _named_tensor(name: object, value: object, path: Path) -> Tensor:
    """A value may stand alone, or in a pair with the name that Paddle gave it."""
    found = value[1] if isinstance(value, tuple) and len(value) == 2 else value
    if not isinstance(found, _Array):
        raise WeightsError(f"{name!r} is a {type(value).__name__}, no array", where=str(path))
    if found.tensor is None:
        raise WeightsError(f"{name!r} is an array without numbers", where=str(path))
    return found.tensor


def _damaged(path: Path, error: BaseException) -> WeightsError:
    first_line = (str(error) or type(error).__name__).splitlines()[0][:120]
    what = f"the file is cut off, damaged or no dictionary of arrays ({first_line})"
    return WeightsError(what, where=str(path), advice=FETCH_AGAIN)
