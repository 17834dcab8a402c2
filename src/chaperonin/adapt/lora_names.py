"""Names of the layers that LoRA is put on: ours in memory, Hugging Face's in files, by the tables of the models."""

import re
from collections.abc import Iterable, Mapping

import torch

from chaperonin.layers.roles import ROLES
from chaperonin.models.aido.weights import HUGGING_FACE as AIDO
from chaperonin.models.esm.weights import HUGGING_FACE as ESM
from chaperonin.weights.rules import Drop

TABLES = {"esm": ESM, "fm4bio": AIDO}
"""`model_type` of `config.json` → names."""


def roles_of(names: Mapping[str, object]) -> tuple[str, ...]:
    """Roles that module names belong to."""
    layers = {re.sub(r"\.\d+$", "", name) for name in names}  # an expert's number
    return tuple(role for role, ends in ROLES.items() if any(name.endswith(ends) for name in layers))


def model_type_of_names(names: Iterable[str]) -> str:
    """Of the model whose modules the names of a file are."""
    return "fm4bio" if any(name.startswith("bert.") or ".mlp." in name for name in names) else "esm"


def name_in_files(name: str, model_type: str, encoder_only: bool = False) -> str:
    """Name in files of our linear layer, or of an expert's."""
    table = TABLES[model_type]
    if ".experts." in name:
        layers, expert = name.rsplit(".", 1)
        many = list(table.write({f"{layers}.weight": torch.empty(int(expert) + 1, 0)}))
        return many[int(expert)].removesuffix(".weight")
    stored = next(iter(table.write({f"{name}.weight": torch.empty(0)}))).removesuffix(".weight")
    return stored.removeprefix("esm.").removeprefix("bert.") if encoder_only else stored


def name_in_memory(name: str) -> str | None:
    """Our name of an encoder's linear layer, of an expert's with its number; None for anything else."""
    for table in TABLES.values():
        found = table.find(f"{name}.weight")
        if found is None or isinstance(found.rule, Drop):
            continue
        ours = found.ours.removesuffix(".weight")
        if roles_of({ours: None}):
            return ours if found.part is None else f"{ours}.{found.part}"
    return None


def whole_module(name: str) -> str:
    """What PEFT takes as a whole: a head of a task, and of the model itself the one layer."""
    is_own = any(table.find(name) for table in TABLES.values())
    return name.rpartition(".")[0] if is_own else name.split(".")[0]


def layer_order(name: str) -> tuple[int, str]:
    """Layer by layer."""
    return int(name.split(".")[1]), name
