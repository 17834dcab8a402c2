"""Published checkpoints of AlphaFold 2 to model folders, and model folders to published checkpoints.

Three programs write them: DeepMind's (`params_model_1_ptm.npz`), OpenFold (`.pt`) and HelixFold (`.pdparams`).
"""

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from chaperonin.errors import UsageError, WeightsError
from chaperonin.files import atomic_file
from chaperonin.models.alphafold.config import PRESETS, AlphaFoldConfig
from chaperonin.models.alphafold.helixfold import helixfold_table
from chaperonin.models.alphafold.layout import LAYOUT
from chaperonin.models.alphafold.model import AlphaFold
from chaperonin.models.alphafold.openfold import current_names, openfold_table
from chaperonin.models.alphafold.weights import npz_table
from chaperonin.weights.arrays import read_npz, write_npz
from chaperonin.weights.convert import new_folder, read_checkpoint, record
from chaperonin.weights.files import read_config
from chaperonin.weights.manifest import sha256_of
from chaperonin.weights.pickled_arrays import read_pickled_arrays
from chaperonin.weights.pieces import PieceTable
from chaperonin.weights.pretrained import assemble_by, load_folder, save_folder

_log = logging.getLogger(__name__)

_NPZ, _HELIXFOLD, _OPENFOLD = ".npz", ".pdparams", (".pt", ".pth", ".ckpt")
WRITTEN = (_NPZ, ".pt")
"""Endings of files that `convert` writes."""
_PRESET = re.compile(r"(?:^|_)(model_[1-5](?:_ptm)?)$")
_COMPLEXES = "multimer"
_FEWER_SEQUENCES = re.compile(r"^initial_training")
"""OpenFold's first stage of training sees 1024 extra sequences, all later ones 5120."""


def convert(source: Path, out: Path, preset: str | None = None) -> Path:
    """Write a published checkpoint as the model folder `out`, or a model folder as the checkpoint `out`; returns it.

    Which of the ten models a file is, its name says (`params_model_1_ptm.npz`), or `preset`.
    """
    if source.is_dir():
        _export(source, out)
        return out
    if not source.is_file():
        raise WeightsError("no such file", where=str(source), advice="Give a .npz, .pt or .pdparams file.")
    named = read_named(source)
    config = config_of(source, named, preset)
    model = assembled(source, named, config)
    with new_folder(out) as partial:
        save_folder(LAYOUT, model, partial)
        record(partial, f"{source.name} sha256:{sha256_of(source)}")
    return out


def knows(source: Path) -> bool:
    """Whether `convert` here is meant, and not that of another model."""
    if source.is_dir():
        return (source / "config.json").is_file() and read_config(source).get("model_type") == "alphafold"
    if source.suffix in _OPENFOLD and source.is_file():
        return any("evoformer.blocks." in name for name in read_checkpoint(source).tensors)
    return source.suffix in (_NPZ, _HELIXFOLD)


def read_named(source: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by its own names."""
    if source.suffix == _NPZ:
        return read_npz(source)
    if source.suffix == _HELIXFOLD:
        return read_pickled_arrays(source)
    return current_names(read_checkpoint(source).tensors, str(source))


def assembled(source: Path, named: Mapping[str, Tensor], config: AlphaFoldConfig) -> AlphaFold:
    """The model that these tensors are."""
    model = assemble_by(_table(source, named, config), LAYOUT, config, named, str(source))
    assert isinstance(model, AlphaFold)
    return model


def config_of(source: Path, named: Collection[str], preset: str | None = None) -> AlphaFoldConfig:
    """Sizes of the model in a file: by what was asked for, by the file's name, or by what the file holds."""
    if preset is not None:
        if preset not in PRESETS:
            raise UsageError(f"there is no preset {preset}", advice=f"Known: {', '.join(PRESETS)}.")
        return PRESETS[preset]
    found = _PRESET.search(source.stem)
    if found:
        return PRESETS[found[1]]
    if _COMPLEXES in source.stem:
        raise WeightsError(
            "a model for complexes, which this program does not have",
            where=str(source),
            advice="Give one for single chains.",
        )
    if source.suffix == _NPZ:
        raise WeightsError(
            "the name does not say which model it is",
            where=str(source),
            advice="Add --preset model_1_ptm, or the one that it is.",
        )
    config = AlphaFoldConfig(
        templates=any("template" in name for name in named),
        aligned_error=any(
            "predicted_aligned_error_head" in name or "aux_heads.tm." in name for name in named
        ),
        extra_sequences=1024 if _FEWER_SEQUENCES.match(source.stem) else 5120,
    )
    _log.info(
        "%s: templates %s, aligned errors %s, %d extra sequences (--preset says otherwise)",
        source.name, config.templates, config.aligned_error, config.extra_sequences,
    )  # fmt: skip
    return config


def _table(source: Path, named: Collection[str], config: AlphaFoldConfig) -> PieceTable:
    if source.suffix == _NPZ:
        return npz_table(config, fused=any("/left_norm_input//" in name for name in named))
    return helixfold_table(config) if source.suffix == _HELIXFOLD else openfold_table(config)


def _export(folder: Path, out: Path) -> None:
    """A model folder as one file; HelixFold reads the `.npz` too."""
    if out.suffix not in WRITTEN:
        raise UsageError(
            f"{out.name} does not say what to write",
            advice=f"Call it {' or '.join(f'NAME{end}' for end in WRITTEN)}.",
        )
    if out.exists():
        raise WeightsError("there is a file of that name", where=str(out), advice="Choose a new one.")
    model = load_folder(LAYOUT, folder)
    assert isinstance(model, AlphaFold)
    ours = {name: tensor.detach() for name, tensor in model.named_parameters()}
    if out.suffix == _NPZ:
        write_npz(out, npz_table(model.config).write(ours))
        return
    theirs = openfold_table(model.config).write(ours)
    with atomic_file(out) as partial:
        torch.save({name: tensor.clone() for name, tensor in theirs.items()}, partial)
