"""The header of a safetensors file, read without opening its tensors and without trusting it."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from chaperonin.errors import WeightsError

_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
"""The format's types → bytes of one number."""
_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 100_000_000
"""What the format's own library accepts."""


@dataclass(frozen=True)
class Entry:
    """One tensor in a file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """Tensor name → what the header says of it; WeightsError unless it describes exactly the bytes that follow."""
    file_bytes = path.stat().st_size
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
        room = file_bytes - _LENGTH_BYTES
        if room < 0 or length > min(room, _LARGEST_HEADER_BYTES):
            raise _damaged(path, f"the header claims {length:,} bytes, the file has {max(room, 0):,} to give")
        raw = opened.read(length)
    try:
        described = json.loads(raw)
        described.pop("__metadata__", None)
        entries = {name: _entry(name, value, path) for name, value in described.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"the header is not one of safetensors ({error!r})") from error
    _check_places(entries, room - length, path)
    return entries


def data_start(opened: RawIOBase) -> int:
    """Byte of an open file at which its tensors begin."""
    opened.seek(0)
    return _LENGTH_BYTES + int.from_bytes(opened.read(_LENGTH_BYTES) or b"", "little")


def count_parameters(paths: Iterable[Path]) -> int:
    """Floating-point numbers in the files."""
    entries = [entry for path in paths for entry in read_header(path).values()]
    return sum(math.prod(entry.shape) for entry in entries if "F" in entry.dtype)


def _entry(name: str, value: dict[str, object], path: Path) -> Entry:
    dtype = str(value["dtype"])
    shape, offsets = value["shape"], value["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise _damaged(path, f"{name} has no shape and two offsets")
    if not all(isinstance(number, int) and number >= 0 for number in [*shape, *offsets]):
        raise _damaged(path, f"{name} has a shape or an offset that is no size")
    if dtype not in _ITEM_BYTES:
        raise _damaged(path, f"{name} is of the unknown type {dtype}")
    start, end = offsets
    if end - start != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise _damaged(path, f"{name} is {dtype} {shape} and has {end - start:,} bytes")
    return Entry(dtype, tuple(shape), start, end)


def _check_places(entries: dict[str, Entry], room: int, path: Path) -> None:
    """Every byte belongs to one tensor: no gap, no overlap, no end outside the file."""
    here = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != here:
            raise _damaged(
                path, f"{name} begins at byte {entry.start:,}, the tensor before it ends at {here:,}"
            )
        here = entry.end
    if here != room:
        raise _damaged(path, f"the tensors take {here:,} bytes, the file has {room:,} for them")


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(what, where=str(path), advice="The file is damaged or cut off: fetch it again.")
