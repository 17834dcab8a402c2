"""Results of many computations in a few safetensors files."""

import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from chaperonin.errors import InputError
from chaperonin.files import disk_errors, write_atomically

Arrays = dict[str, NDArray[Any]]
"""The result of one computation: arrays by name."""


class Shards:
    """A folder of numbered shards; inside, the array `name` of unit 7 is called `7.name`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()

    def write(self, number: int, results: Mapping[int, Arrays]) -> int:
        """Write the results of some units as one complete file, and return its size in bytes."""
        with disk_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        content = save(
            {f"{unit}.{name}": array for unit, arrays in results.items() for name, array in arrays.items()}
        )
        write_atomically(self._path(number), content)
        return len(content)

    def read(self, number: int, unit: int, names: Sequence[str] = ()) -> Arrays:
        """The arrays of a unit, or those of some names; KeyError for a name that it has not.

        The shards read last stay open, with only their tables of contents in memory.
        """
        shard = self._open.get(number)
        if shard is None:
            shard = self._open[number] = _OpenShard(self._path(number))
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
        else:
            self._open.move_to_end(number)
        arrays = shard.read(unit, names)
        if missing := set(names).difference(arrays):
            raise KeyError(f"a unit has no arrays {sorted(missing)}")
        return arrays

    def keep_only(self, sizes: Mapping[int, int]) -> list[int]:
        """Remove what is no shard of these numbers and sizes, also what a kill left half-written.

        Returns the numbers that are not there, or have another size.
        """
        self.close()
        found: set[int] = set()
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if not (match := _OWN_FILE.fullmatch(path.name)):
                continue
            number = int(match["number"])
            if match["part"] is None and sizes.get(number) == path.stat().st_size:
                found.add(number)
            else:
                path.unlink()
        return sorted(set(sizes) - found)

    def remove(self) -> None:
        """Remove all shards, and the folder unless it holds something else."""
        self.keep_only({})
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def close(self) -> None:
        """Let go of the files."""
        for shard in self._open.values():
            shard.close()
        self._open.clear()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"


_OPEN_SHARDS = 64
_OWN_FILE = re.compile(r"\.?(?P<number>\d{6,})\.safetensors(?P<part>\.part)?")


class _OpenShard:
    """A shard and where in it the arrays of each unit are.

    Read, not mapped: pages of a mapped file would count as memory of the process, and the peak of the models
    could not be measured. The table of contents is packed, since a shard may hold thousands of small arrays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115 (open for as long as the shard)
        except OSError as error:
            raise self._damaged() from error
        try:
            size = int.from_bytes(self._file.read(8), "little")
            header = json.loads(self._file.read(min(size, path.stat().st_size)))
        except ValueError as error:
            self.close()
            raise self._damaged() from error
        self._start = 8 + size
        header.pop("__metadata__", None)
        kinds: dict[tuple[str, str, tuple[int, ...]], int] = {}
        places = []
        for key, entry in header.items():
            unit, _, name = key.partition(".")
            kind = kinds.setdefault((name, _DTYPES[entry["dtype"]], tuple(entry["shape"])), len(kinds))
            places.append((int(unit), kind, entry["data_offsets"][0]))
        self._kinds = list(kinds)
        self._places = np.array(sorted(places), dtype=np.int64).reshape(-1, 3)
        self._units = np.ascontiguousarray(self._places[:, 0])

    def read(self, unit: int, names: Sequence[str]) -> Arrays:
        """The arrays of a unit, those of some names where there are any."""
        arrays: Arrays = {}
        first, last = np.searchsorted(self._units, [unit, unit + 1])
        for _, kind, offset in self._places[first:last].tolist():
            name, dtype, shape = self._kinds[kind]
            if names and name not in names:
                continue
            array = arrays[name] = np.empty(shape, dtype)
            self._file.seek(self._start + offset)
            if self._file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
                raise self._damaged()
        return arrays

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _damaged(self) -> InputError:
        return InputError(
            "a shard of results is damaged or gone",
            where=str(self._path),
            advice="Run the same command again: what is missing is computed once more.",
        )


_DTYPES = {"BOOL": "?", "C64": "<c8"} | {
    f"{letter}{8 * size}": f"<{code}{size}"
    for letter, code, sizes in (("F", "f", (2, 4, 8)), ("I", "i", (1, 2, 4, 8)), ("U", "u", (1, 2, 4, 8)))
    for size in sizes
}
"""Element types of the safetensors format, as numpy names them."""
