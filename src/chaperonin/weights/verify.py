"""Whether a model folder is what it was, what it says it is, and free of numbers that are none."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.weights.files import index_problems, read_config, tensors, weight_files
from chaperonin.weights.filling import find_places
from chaperonin.weights.headers import read_header
from chaperonin.weights.manifest import read_manifest
from chaperonin.weights.pretrained import Layout, build_empty, load_folder

_CHUNK = 1 << 24


def verify(folder: Path, layout_of: Callable[[object, str], Layout]) -> Iterator[str]:
    """One sentence for each thing that is wrong with a model folder; nothing when all is well.

    In this order: the recorded sizes and SHA-256 hashes; the header of every safetensors file; names and shapes
    against the model that config.json describes; numbers that are not finite.
    """
    manifest = read_manifest(folder)
    if manifest is not None:
        yield from manifest.problems(folder)
    try:
        layout = layout_of(read_config(folder).get("model_type"), str(folder / "config.json"))
        files = weight_files(folder)
    except WeightsError as error:
        yield _told(error, folder)
        return
    headers: dict[str, set[str]] = {}
    for path in files:
        try:
            headers[path.name] = set(read_header(path))
        except WeightsError as error:
            yield _told(error, folder)
    if len(headers) < len(files):
        return
    yield from index_problems(folder, headers)
    try:
        if layout.tables["huggingface"].stacks:  # may be larger than the memory: headers say as much
            config = layout.read_config(read_config(folder), str(folder))
            find_places(layout.tables["huggingface"], folder, build_empty(layout, config))
        else:
            load_folder(layout, folder)
    except WeightsError as error:
        yield _told(error, folder)
    for name, tensor in tensors(files):
        count = _not_finite(tensor)
        if count:
            yield f"{name}: {count:,} of {tensor.numel():,} numbers are NaN or infinite"


def _not_finite(tensor: Tensor) -> int:
    if not tensor.is_floating_point():
        return 0
    pieces = tensor.flatten().split(_CHUNK)  # a copy of a whole matrix of 15B would be felt
    return sum(int((~torch.isfinite(piece)).sum()) for piece in pieces)


def _told(error: WeightsError, folder: Path) -> str:
    """The error without its advice, and with a place only where that says more than the folder."""
    where = Path(error.where).name if Path(error.where) != folder else ""
    return f"{where}: {error.what}" if where else error.what
