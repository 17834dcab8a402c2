"""AlphaFold on disk as we hold it: `config.json` with the sizes, and safetensors by the names of the model."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from chaperonin.errors import WeightsError
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.model import AlphaFold
from chaperonin.models.alphafold.weights import npz_table
from chaperonin.weights.pretrained import Layout
from chaperonin.weights.rules import Rename, Table


def read_config(config: Mapping[str, Any], where: str) -> AlphaFoldConfig:
    """The sizes; WeightsError names what is missing or no size."""
    values: dict[str, Any] = {}
    for field in fields(AlphaFoldConfig):
        if field.name not in config:
            raise WeightsError(f"config.json lacks {field.name}", where=where, advice="Convert it again.")
        value = config[field.name]
        if type(value) is not field.type or value < 0:
            raise WeightsError(f"{field.name} is {value!r}, which is no size", where=where)
        values[field.name] = value
    return AlphaFoldConfig(**values)


def write_config(config: AlphaFoldConfig) -> dict[str, Any]:
    """What `config.json` says."""
    return {"architectures": ["AlphaFold"], "model_type": "alphafold", **asdict(config)}


_NAMES = dict.fromkeys(piece.ours for piece in npz_table(AlphaFoldConfig()).pieces)

LAYOUT = Layout(
    build=AlphaFold,
    read_config=read_config,
    write_config=write_config,
    tables={"huggingface": Table(tuple(Rename(name, name) for name in _NAMES))},
    defaults=lambda config: {},
    heads={},
)
