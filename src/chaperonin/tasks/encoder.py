"""The language model that a folder holds: an ESM, an AIDO.Protein, or the protein tower of a ProtST."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chaperonin.adapt.filled import read_filled
from chaperonin.errors import UsageError
from chaperonin.layers.language import LanguageModel
from chaperonin.models import layout_of
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.models.esm.model import ESM, ESMConfig
from chaperonin.protein.alphabet import Alphabet
from chaperonin.tasks.huggingface import PREFIX
from chaperonin.weights.files import read_config, tensors, weight_files
from chaperonin.weights.pretrained import Layout, assemble

EncoderConfig = ESMConfig | AIDOConfig

_TOWER = "protein."
"""Beginning of the names of a ProtST's protein tower."""


def encoder_config(folder: Path) -> EncoderConfig:
    """Its sizes; UsageError for a folder of another kind of model."""
    return _described(folder)[2]


def alphabet_of(folder: Path) -> Alphabet:
    """The alphabet that it reads."""
    return AIDO.alphabet if isinstance(encoder_config(folder), AIDOConfig) else ESM.alphabet


def read_encoder(
    folder: Path, change: Callable[[str, Tensor], Tensor] | None = None, stored: str = "fp32"
) -> LanguageModel:
    """The plain model in evaluation mode, without heads that stand on it; of a ProtST nothing else is kept in memory.

    change: what is kept of each tensor of an ESM, under its name in the model, before the next one is read.
    stored: numbers of a mixture of experts: fp32, bf16, or int8, bytes that pass gradients on.
    """
    layout, config, own = _described(folder)
    if isinstance(own, AIDOConfig):
        model = read_filled(layout, folder, stored, torch.device("cpu")).eval()
        assert isinstance(model, AIDO)
        return model
    table = layout.tables["huggingface"]
    is_whole = layout.build is ESM
    named: dict[str, Tensor] = {}
    for name, tensor in tensors(weight_files(folder)):
        found = table.find(name)
        own_name = found.ours if found is not None else ""
        # What no table knows stays, for `assemble` to name it.
        is_of_others = found is not None and not is_whole and not own_name.startswith(_TOWER)
        if name.startswith(PREFIX) or is_of_others:
            continue
        named[name] = (
            tensor if change is None or not own_name else change(own_name.removeprefix(_TOWER), tensor)
        )
        del tensor
    model = assemble(layout, config, named, "huggingface", str(folder)).eval()
    tower = model if is_whole else model.protein
    assert isinstance(tower, ESM)
    return tower


def _described(folder: Path) -> tuple[Layout, Any, EncoderConfig]:
    values = read_config(folder)
    layout = layout_of(values.get("model_type"), where=str(folder))
    config = layout.read_config(values, str(folder))
    own = getattr(config, "protein", config)
    if not isinstance(own, EncoderConfig):
        raise UsageError(
            f"a model of type {values.get('model_type')!r} is no language model",
            where=str(folder),
            advice="Give an ESM, an AIDO.Protein, or a ProtST, whose protein tower is taken.",
        )
    return layout, config, own
