"""The language model that a folder holds: an ESM, or the protein tower of a ProtST."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from chaperonin.errors import UsageError
from chaperonin.models import layout_of
from chaperonin.models.esm.model import ESM, ESMConfig
from chaperonin.tasks.huggingface import PREFIX
from chaperonin.weights.files import read_config, tensors, weight_files
from chaperonin.weights.pretrained import Layout, assemble

_TOWER = "protein."
"""Beginning of the names of a ProtST's protein tower."""


def encoder_config(folder: Path) -> ESMConfig:
    """Its sizes; UsageError for a folder of another kind of model."""
    return _described(folder)[2]


def read_encoder(folder: Path, change: Callable[[str, Tensor], Tensor] | None = None) -> ESM:
    """The plain model in evaluation mode, without heads that stand on it; of a ProtST nothing else is kept in memory.

    change: what is kept of each tensor, under its name in the model, before the next one is read.
    """
    layout, config, _ = _described(folder)
    table = layout.tables["huggingface"]
    is_whole = layout.build is ESM
    named: dict[str, Tensor] = {}
    for name, tensor in tensors(weight_files(folder)):
        found = table.find(name)
        own = found.ours if found is not None else ""
        # What no table knows stays, for `assemble` to name it.
        is_of_others = found is not None and not is_whole and not own.startswith(_TOWER)
        if name.startswith(PREFIX) or is_of_others:
            continue
        named[name] = tensor if change is None or not own else change(own.removeprefix(_TOWER), tensor)
        del tensor
    model = assemble(layout, config, named, "huggingface", str(folder)).eval()
    tower = model if is_whole else model.protein
    assert isinstance(tower, ESM)
    return tower


def _described(folder: Path) -> tuple[Layout, Any, ESMConfig]:
    values = read_config(folder)
    layout = layout_of(values.get("model_type"), where=str(folder))
    config = layout.read_config(values, str(folder))
    own = getattr(config, "protein", config)
    if not isinstance(own, ESMConfig):
        raise UsageError(
            f"a model of type {values.get('model_type')!r} is no language model",
            where=str(folder),
            advice="Give an ESM, or a ProtST, whose protein tower is taken.",
        )
    return layout, config, own
