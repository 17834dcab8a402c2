"""Tensors from numpy's `.npz` and into it. A file is believed nothing that its bytes do not show."""

import zipfile
import zlib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.files import atomic_file

LARGEST_BYTES = 4 << 30
"""A file that says it holds more is refused: the largest published one has 0.4 GB."""

_NUMBERS = {np.dtype("<f2"), np.dtype("<f4"), np.dtype("<f8")}
DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError, NotImplementedError)
"""What broken files raise."""
FETCH_AGAIN = "Fetch the file again and compare its size with the published one."


def read_npz(file: Path | IO[bytes], where: str = "") -> dict[str, Tensor]:
    """Every array of an `.npz`; WeightsError for one that is damaged, too large, or holds other things than numbers."""
    where = where or str(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(members, where)
            return {member.filename.removesuffix(".npy"): _read(archive, member, where) for member in members}
    except DAMAGED as error:
        what = str(error) or type(error).__name__
        raise WeightsError(
            f"the file is cut off, damaged or no .npz ({what[:120]})", where=where, advice=FETCH_AGAIN
        ) from error


def write_npz(path: Path, named: Mapping[str, Tensor]) -> None:
    """Write an `.npz` that `numpy.load` reads, whole or not at all."""
    with atomic_file(path) as partial, partial.open("wb") as file:
        arrays: dict[str, Any] = {name: _array(tensor) for name, tensor in named.items()}
        np.savez(file, **arrays)


def _array(tensor: Tensor) -> np.ndarray:
    """numpy has no bfloat16; float32 holds the same numbers."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()


def _check_members(members: list[zipfile.ZipInfo], where: str) -> None:
    names = [member.filename for member in members]
    twice = next((name for name in names if names.count(name) > 1), "")
    total = sum(member.file_size for member in members)
    what = ""
    if twice:
        what = f"{twice} is there twice"
    elif total > LARGEST_BYTES:
        what = f"unpacked it would have {total:,} bytes, more than the {LARGEST_BYTES:,} that are allowed"
    elif not all(name.endswith(".npy") for name in names):
        what = f"{next(name for name in names if not name.endswith('.npy'))} is no array"
    if what:
        raise WeightsError(what, where=where, advice="Get the file from its publisher.")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Tensor:
    """One array, checked against the bytes that are there before memory is taken for it."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read_header(file)
        if dtype not in _NUMBERS:
            raise WeightsError(f"{member.filename} holds {dtype}, not floating-point numbers", where=where)
        content = bytearray(file.read())
    return tensor_of(content, shape, by_columns, dtype)


def tensor_of(content: bytearray, shape: tuple[int, ...], by_columns: bool, dtype: np.dtype) -> Tensor:
    """The tensor that these bytes are; ValueError when they are more or fewer than the shape says."""
    if len(content) != prod(shape) * dtype.itemsize or any(size < 0 for size in shape):
        raise ValueError(f"an array of shape {shape} has {len(content):,} bytes")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
    return torch.from_numpy(np.ascontiguousarray(array).reshape(shape))
