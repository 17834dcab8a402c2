"""What a mixture of experts takes of the memory: to load it, to run it in bytes, to run it from disk.

The files are synthetic, of the published width and in the published layout, a shard per layer as it is there; of all
layers the measured ones are some, and the figure for all is extrapolated and says so.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import aido_sides
from benchmarks.memory import peak_bytes
from benchmarks.setting import Setting
from benchmarks.table import Row
from benchmarks.timing import Side

LAYERS = 36
ALL_BYTES_INT8, STREAMED_BYTES = 20e9, 4e9
"""What the whole model should run in."""
TOKENS = 512


def load(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """Peak of loading fp32 shards to bytes, over what the model then takes."""
    folder = write_shards(setting.scratch / f"shards{sizes['depth']}", sizes)
    peak, held = peak_bytes(Side(loads, {"folder": str(folder)}), setting.threads)
    return [
        Row(
            "peak memory of loading fp32 shards to int8, over the loaded model",
            f"{peak / 1e6:,.0f} MB",
            f"{held / 1e6:,.0f} MB",
            peak / held,
            1.15,
            1.05,
            notes=f"{sizes['depth']} layers, {file_bytes(folder) / 1e9:.1f} GB of files",
            lower_is_better=True,
        )
    ]


def fits(setting: Setting, sizes: aido_sides.Sizes, options: argparse.Namespace) -> list[Row]:
    """The process's whole memory: bytes in memory, and layers from disk."""
    folder = write_shards(setting.scratch / f"shards{sizes['depth']}", sizes)
    lengths = [40 if setting.quick else TOKENS] * 4
    rows = []
    layer_bytes = 0
    for how, bound in (("memory", ALL_BYTES_INT8), ("disk", STREAMED_BYTES)):
        given = {"folder": str(folder), "layers": how, "lengths": lengths}
        peak, (before, layer_bytes) = peak_bytes(Side(runs, given), setting.threads)
        whole = before + peak
        everything = whole + (LAYERS - sizes["depth"]) * layer_bytes if how == "memory" else whole
        place = "int8 in memory" if how == "memory" else "fp32, a layer at a time from disk"
        more = f" + {LAYERS - sizes['depth']} more layers of {layer_bytes / 1e6:,.0f} MB, extrapolated"
        rows.append(
            Row(
                f"memory of the 16B, {place}",
                f"{whole / 1e9:.2f} GB with {sizes['depth']} layers",
                f"{bound / 1e9:.0f} GB",
                everything / 1e9,
                bound / 1e9,
                unit=" GB",
                notes=f"whole process, {sum(lengths):,} tokens" + (more if how == "memory" else ""),
                lower_is_better=True,
            )
        )
    return rows


def write_shards(folder: Path, sizes: aido_sides.Sizes) -> Path:
    """A random model of these sizes in the published layout: the layers one by one, then the rest."""
    import torch
    from safetensors.torch import save_file

    from chaperonin.models.aido.weights import HUGGING_FACE, config_to_huggingface

    if (folder / "config.json").is_file():
        return folder
    folder.mkdir(parents=True)
    depth = sizes["depth"]
    with torch.device("meta"):
        config = aido_sides.empty(sizes).config
    places: dict[str, str] = {}
    for number in range(depth + 1):
        start = f"layers.{number}."
        own = {
            name: tensor
            for name, tensor in aido_sides.make_weights(sizes)
            if (name.startswith(start) if number < depth else not name.startswith("layers."))
        }
        shard = f"model-{number + 1:05}-of-{depth + 1:05}.safetensors"
        theirs = HUGGING_FACE.write(own)
        save_file({name: tensor.contiguous() for name, tensor in theirs.items()}, folder / shard)
        places |= dict.fromkeys(theirs, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(json.dumps(config_to_huggingface(config)))
    return folder


def file_bytes(folder: Path) -> int:
    """Of all shards."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def loads(folder: str) -> Callable[[], int]:
    """Loading to bytes; returns the size of the model's tensors."""
    from chaperonin.inference.load import load as load_model

    kept: list[Any] = []

    def run() -> int:
        kept.append(load_model(folder, precision="int8", device="cpu"))
        return sum(parameter.nbytes for parameter in kept[0].parameters())

    return run


def runs(folder: str, layers: str, lengths: list[int]) -> Callable[[], tuple[int, int]]:
    """A pass of a model that this loads too; returns the process's memory before, and the size of a layer."""
    import torch

    from chaperonin.inference.load import load as load_model
    from chaperonin.kernels.host_memory import resident_bytes
    from chaperonin.kernels.segments import Segments

    stream, segments = torch.cat(aido_sides.make_tokens(lengths)), Segments(lengths)
    before = resident_bytes()

    def run() -> tuple[int, int]:
        precision = "int8" if layers == "memory" else "fp32"
        model = load_model(folder, precision=precision, device="cpu", layers=layers)  # type: ignore[arg-type]
        with torch.inference_mode():
            model(stream, segments)
        return before, sum(parameter.nbytes for parameter in model.layers[0].parameters())

    return run
