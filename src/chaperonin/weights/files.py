"""safetensors files on disk: one file, or shards with an index."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chaperonin.errors import WeightsError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


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
            raise WeightsError("the index is damaged", where=str(folder / INDEX), advice="Fetch it again.") from error
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
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt"))
    advice = f"Run `chaperonin weights convert {folder} OUT` once." if pickled else "Give a folder that holds one."
    raise WeightsError(f"no {SINGLE}", where=str(folder), advice=advice)


def tensors(files: list[Path], device: torch.device | str = "cpu") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the files, one at a time, so that a reader never holds more than it keeps."""
    for path in files:
        try:
            with safe_open(path, framework="pt", device=str(device)) as opened:
                for name in opened.keys():  # noqa: SIM118  (not a dict)
                    yield name, opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"not a whole safetensors file ({error})", where=str(path), advice="Fetch the file again."
            ) from error


def write_tensors(folder: Path, named: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`: to a temporary name, synced, then renamed."""
    partial = folder / f".{SINGLE}.part"
    save_file({name: tensor.contiguous() for name, tensor in named.items()}, partial, {"format": "pt"})
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.rename(folder / SINGLE)
