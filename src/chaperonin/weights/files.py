"""safetensors files on disk: one file, or shards with an index."""

import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.weights.headers import data_start, read_header

DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
"""The format's types → PyTorch's."""

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""A larger file is written in shards, as the hub's libraries do."""


def read_config(folder: Path) -> dict[str, object]:
    """`config.json` of a model folder; WeightsError when it is absent or not JSON."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            "no config.json", where=str(folder), advice="Give a folder with config.json and safetensors."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"not JSON ({error})", where=str(path), advice="Fetch the file again.") from error
    if not isinstance(config, dict):
        raise WeightsError("not a JSON object", where=str(path), advice="Fetch the file again.")
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in the index's order."""
    if (folder / INDEX).is_file():
        try:
            names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, AttributeError) as error:
            raise WeightsError(
                "the index is damaged", where=str(folder / INDEX), advice="Fetch it again."
            ) from error
        files = [folder / name for name in dict.fromkeys(names)]
        absent = [path.name for path in files if path.parent != folder or not path.is_file()]
        if absent:
            raise WeightsError(
                f"the index names files that are not here: {', '.join(absent[:5])}",
                where=str(folder),
                advice="Fetch the checkpoint again.",
            )
        return files
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(
        path.name for path in folder.glob("*.pt")
    )
    advice = (
        f"Run `chaperonin weights convert {folder} OUT` once." if pickled else "Give a folder that holds one."
    )
    raise WeightsError(f"no {SINGLE}", where=str(folder), advice=advice)


def index_problems(folder: Path, headers: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Where the index of sharded weights and the shards disagree."""
    if not (folder / INDEX).is_file():
        return
    weight_map = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    for name, shard in weight_map.items():
        if name not in headers[shard]:
            yield f"{INDEX} says that {name} is in {shard}, where it is not"
    for shard, names in headers.items():
        for name in sorted(set(names) - {name for name, place in weight_map.items() if place == shard}):
            yield f"{shard} holds {name}, which {INDEX} does not say"
    for path in sorted(folder.glob("model-*.safetensors")):
        if path.name not in headers:
            yield f"{INDEX} does not name the shard {path.name}"


@dataclass(frozen=True)
class Stored:
    """A tensor that lies in a file."""

    path: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    """Byte of the file at which it begins."""

    def read(self) -> Tensor:
        """The whole of it, in memory of its own.

        The library's reader maps the file instead: pages that it read would count as this process's memory until the
        last tensor of the file is gone, which doubles the peak of whoever changes the weights as they come.
        """
        return self._read(self.shape, self.start)

    def rows(self, first: int, stop: int) -> Tensor:
        """Some of it along its first axis."""
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        return self._read((stop - first, *self.shape[1:]), self.start + first * row_bytes)

    def _read(self, shape: tuple[int, ...], start: int) -> Tensor:
        tensor = torch.empty(shape, dtype=self.dtype)
        if tensor.numel():
            with self.path.open("rb", buffering=0) as opened:
                opened.seek(start)
                _fill(opened, tensor)
        return tensor


def stored(files: list[Path]) -> Iterator[Stored]:
    """Every tensor of the files, not read yet, in the order in which they lie there."""
    for path in files:
        with path.open("rb", buffering=0) as opened:
            first = data_start(opened)
        for name, entry in read_header(path).items():
            yield Stored(path, name, DTYPES[entry.dtype], entry.shape, first + entry.start)


def tensors(files: list[Path]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the files, one at a time, each in memory of its own."""
    for own in stored(files):
        yield own.name, own.read()


def _fill(opened: RawIOBase, tensor: Tensor) -> None:
    """Read exactly the tensor's bytes; a file that ends before has changed since its header was checked."""
    rest = memoryview(tensor.view(-1).view(torch.uint8).numpy().data)
    while rest:
        count = opened.readinto(rest)
        if not count:
            raise WeightsError("the file became shorter while it was read", advice="Fetch the file again.")
        rest = rest[count:]


def write_tensors(folder: Path, named: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`, or shards and their index where that is larger than a shard should be."""
    if sum(tensor.nbytes for tensor in named.values()) <= SHARD_BYTES:
        write_file(folder / SINGLE, named)
        (folder / INDEX).unlink(missing_ok=True)  # of larger weights that were here before
        return
    shards: list[dict[str, Tensor]] = []
    room = 0
    for name, tensor in named.items():
        if tensor.nbytes > room:
            shards.append({})
            room = SHARD_BYTES
        shards[-1][name] = tensor
        room -= tensor.nbytes
    write_shards(folder, shards, len(shards))


def write_shards(folder: Path, shards: Iterable[Mapping[str, Tensor]], count: int) -> None:
    """Write shard after shard, then the index: what comes from a generator is in memory one shard at a time."""
    places: dict[str, str] = {}
    for number, named in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{count:05}.safetensors"
        write_file(folder / file, named)
        places |= dict.fromkeys(named, file)
    partial = folder / f".{INDEX}.part"
    partial.write_text(json.dumps({"metadata": {}, "weight_map": places}, indent=2) + "\n", encoding="utf-8")
    partial.rename(folder / INDEX)
    (folder / SINGLE).unlink(missing_ok=True)


def write_file(path: Path, named: Mapping[str, Tensor]) -> None:
    """Write a safetensors file: to a temporary name, synced, then renamed."""
    partial = path.with_name(f".{path.name}.part")
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, partial, {"format": "pt"})
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.chmod(0o666 & ~_umask())  # the library makes files that only their owner reads
    partial.rename(path)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
