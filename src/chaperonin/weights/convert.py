"""Pickled checkpoints to folders with safetensors, without running what a pickle may ask for.

This is the only place where a pickle is opened, and only when the user asks: numbers, plain containers and
`argparse.Namespace` are taken from it, anything else is refused.
"""

import argparse
import json
import logging
import os
import pickle
import re
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.weights.asking import cannot_write
from chaperonin.weights.files import read_config, write_shards
from chaperonin.weights.filling import find_places
from chaperonin.weights.listing import COMPANIONS
from chaperonin.weights.manifest import Manifest, record_files, sha256_of
from chaperonin.weights.pretrained import Layout, assemble, build_empty, save_folder

_log = logging.getLogger(__name__)

_BIN = "pytorch_model.bin"
_BIN_INDEX = "pytorch_model.bin.index.json"
_COMPANIONS = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_DAMAGED = (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, struct.error)
"""What `torch.load` raises for files that are cut off or no pickles, by experiment."""
_FETCH_AGAIN = "Fetch the file again and compare its size with the published one."


@dataclass(frozen=True)
class Checkpoint:
    """A pickled checkpoint as it lies in its file."""

    path: Path
    arguments: Mapping[str, Any]
    """What the training program noted about the model; empty when it noted nothing."""
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Origin:
    """A program whose checkpoints carry no `config.json`."""

    model_type: str
    """What `config.json` would say."""
    table: str
    """Key of its tensor names in the layout."""
    describe: Callable[[Checkpoint], Any]
    """Checkpoint → configuration of its model; WeightsError when it is another model."""
    adjust: Callable[[Checkpoint], dict[str, Tensor]]
    """The tensors as that program uses them after loading."""
    companions: Mapping[str, str]
    """File name → text of the small files that other programs want in a model folder."""
    head_suffix: str
    """End of the name of the file beside a checkpoint that holds its contact head."""


LayoutOf = Callable[[object, str], Layout]
"""`model_type` and where it stands → layout; WeightsError for an unknown one."""


def convert(
    layout_of: LayoutOf, origin: Origin, source: Path, out: Path, regression: Path | None = None
) -> Path:
    """Write the checkpoint `source` as a model folder `out` in Hugging Face layout; returns `out`.

    `source` is a `.pt` file of the origin (its contact regression is found beside it, or given), or a folder
    with `config.json` and `pytorch_model.bin`, whole or in shards. Every number keeps its bits and its type.
    """
    if source.name in (_BIN, _BIN_INDEX):
        source = source.parent
    with new_folder(out) as partial:
        if source.is_dir():
            files = _convert_folder(layout_of, source, partial)
        else:
            files = _convert_file(
                layout_of(origin.model_type, str(source)), origin, source, partial, regression
            )
        record(partial, ", ".join(f"{path.name} sha256:{sha256_of(path)}" for path in files))
    return out


@contextmanager
def new_folder(out: Path, partial: Path | None = None) -> Iterator[Path]:
    """A folder to write to, which is called `out` when the block ends well and is gone when it does not."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError("the output is not an empty folder", where=str(out), advice="Choose a new one.")
    partial = partial or out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        out.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, out)
    except OSError as error:
        raise cannot_write(error, out) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def record(folder: Path, source: str, version: str = "") -> None:
    """Write down what the files of a new folder are and what they were made from."""
    files = record_files(folder, sorted(path.name for path in folder.iterdir()))
    Manifest(source, version, files).write(folder)


def _convert_file(
    layout: Layout, origin: Origin, source: Path, folder: Path, regression: Path | None
) -> list[Path]:
    beside = source.with_name(f"{source.stem}{origin.head_suffix}")
    if regression is None and beside.is_file():
        regression = beside
    checkpoint = read_checkpoint(source)
    if regression is not None:
        checkpoint.tensors.update(read_checkpoint(regression).tensors)
    elif not any("contact_head" in name for name in checkpoint.tensors):
        _log.warning("No %s: the converted model will have no contact maps.", beside)
    config = origin.describe(checkpoint)
    save_folder(
        layout, assemble(layout, config, origin.adjust(checkpoint), origin.table, str(source)), folder
    )
    for name, text in origin.companions.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [source] if regression is None else [source, regression]


def _convert_folder(layout_of: LayoutOf, source: Path, folder: Path) -> list[Path]:
    described = read_config(source)
    layout = layout_of(described.get("model_type"), str(source))
    files = _pickled_files(source)
    if layout.tables["huggingface"].stacks:
        _convert_shards(layout, described, files, folder)
        return files
    named: dict[str, Tensor] = {}
    for path in files:
        named |= read_checkpoint(path).tensors
    config = layout.read_config(described, str(source))
    save_folder(layout, assemble(layout, config, named, "huggingface", str(source)), folder)
    for name in COMPANIONS:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    return files


def _convert_shards(layout: Layout, described: Mapping[str, Any], files: list[Path], folder: Path) -> None:
    """The same for a model that may be larger than the memory: names stay, and one shard is in memory at a time."""
    folder.mkdir(parents=True)
    write_shards(folder, (read_checkpoint(path).tensors for path in files), len(files))
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    model = build_empty(layout, layout.read_config(described, str(files[0].parent)))
    find_places(layout.tables["huggingface"], folder, model)


def read_checkpoint(path: Path) -> Checkpoint:
    """Tensors and arguments of a pickle; WeightsError for one that is damaged or wants to run code."""
    content = _unpickle(path)
    averaged = content.get("ema")
    if (
        isinstance(averaged, Mapping) and "params" in averaged
    ):  # OpenFold's training: what it means to publish
        tensors = averaged["params"]
    else:
        tensors = content.get("model", content.get("state_dict", content))
    if not isinstance(tensors, Mapping):
        raise WeightsError(
            "there is no dictionary of tensors in the file", where=str(path), advice=_FETCH_AGAIN
        )
    strange = [name for name, tensor in tensors.items() if not isinstance(tensor, Tensor)]
    if strange or not tensors:
        what = (
            f"{strange[0]!r} is a {type(tensors[strange[0]]).__name__}, no tensor"
            if strange
            else "no tensors"
        )
        raise WeightsError(what, where=str(path), advice="Give the checkpoint of a model.")
    noted = content.get("args") or _part(content.get("cfg"), "model")
    arguments = noted if isinstance(noted, Mapping) else vars(noted) if noted is not None else {}
    return Checkpoint(path, dict(arguments), {str(name): tensor for name, tensor in tensors.items()})


def _part(cfg: object, key: str) -> object:
    return cfg.get(key) if isinstance(cfg, Mapping) else getattr(cfg, key, None)


def _unpickle(path: Path) -> Mapping[str, Any]:
    """What `torch.load` gives when it may build nothing but numbers, containers and namespaces."""
    if not path.is_file():
        raise WeightsError(
            "no such file", where=str(path), advice="Give a .pt file, or a folder with a .bin."
        )
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
            # Mapped: the numbers stay in the file until they are written to the new one.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        wanted = re.search(r"(?:GLOBAL|global:?) (?:GLOBAL )?`?([\w.]+)", str(error))
        if wanted is None:
            raise _damaged(path, error) from error
        raise WeightsError(
            f"refused: the file wants to use {wanted[1]}, which is neither a number nor a plain container",
            where=str(path),
            advice="A checkpoint needs no such thing: it may run code. Get the model from its publisher.",
        ) from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"holds a {type(content).__name__}, no checkpoint", where=str(path), advice=_FETCH_AGAIN
        )
    return content


def _damaged(path: Path, error: Exception) -> WeightsError:
    if isinstance(error, PermissionError):
        return WeightsError("may not be read", where=str(path), advice="Change its permissions.")
    first_line = (str(error) or type(error).__name__).splitlines()[0][:120]
    what = f"the file is cut off, damaged or no checkpoint ({first_line})"
    return WeightsError(what, where=str(path), advice=_FETCH_AGAIN)


def _pickled_files(folder: Path) -> list[Path]:
    if (folder / _BIN_INDEX).is_file():
        try:
            names = json.loads((folder / _BIN_INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError, AttributeError) as error:
            raise WeightsError(
                "the index is damaged", where=str(folder / _BIN_INDEX), advice=_FETCH_AGAIN
            ) from error
        files = [folder / str(name) for name in dict.fromkeys(names)]
        absent = [path.name for path in files if path.parent != folder or not path.is_file()]
        if absent:
            raise WeightsError(
                f"the index names {absent[0]}, which is not here", where=str(folder), advice=_FETCH_AGAIN
            )
        return files
    if (folder / _BIN).is_file():
        return [folder / _BIN]
    raise WeightsError(
        f"no {_BIN}", where=str(folder), advice="Give a folder that holds one, or the .pt file itself."
    )
