"""Results of many computations in a few safetensors files."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from chaperonin.errors import InputError
from chaperonin.inference.files import write_atomically

Arrays = dict[str, NDArray[Any]]
"""The result of one computation: arrays by name."""


class Shards:
    """A folder of numbered shards; inside, the array `name` of unit 7 is called `7.name`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()

    def write(self, number: int, results: Mapping[int, Arrays]) -> int:
        """Write the results of some units as one complete file, and return its size in bytes."""
        content = save(
            {f"{unit}.{name}": array for unit, arrays in results.items() for name, array in arrays.items()}
        )
        write_atomically(self._path(number), content)
        return len(content)

    def read(self, number: int, unit: int) -> Arrays:
        """The arrays of a unit. Shards last read stay open (mapped, not in memory)."""
        shard = self._open.get(number)
        if shard is None:
            shard = self._open[number] = _open_shard(self._path(number))
            if len(self._open) > _OPEN_SHARDS:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(number)
        return {name: shard.file.get_tensor(f"{unit}.{name}") for name in shard.names.get(unit, ())}

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
        self._open.clear()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"


_OPEN_SHARDS = 64
_OWN_FILE = re.compile(r"\.?(?P<number>\d{6,})\.safetensors(?P<part>\.part)?")


@dataclass(frozen=True)
class _OpenShard:
    file: Any
    names: dict[int, list[str]]


def _open_shard(path: Path) -> _OpenShard:
    try:
        file = safe_open(path, framework="numpy")
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"a shard of results cannot be read: {error}",
            where=str(path),
            advice="Run the same command again: missing results are computed once more.",
        ) from error
    names: dict[int, list[str]] = {}
    for key in file.keys():  # noqa: SIM118 (not a dict)
        unit, _, name = key.partition(".")
        names.setdefault(int(unit), []).append(name)
    return _OpenShard(file, names)
