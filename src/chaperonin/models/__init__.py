"""The models: one folder per architecture, each as its paper says, for one device."""

from importlib import import_module
from typing import TYPE_CHECKING

from chaperonin.errors import WeightsError

if TYPE_CHECKING:
    from chaperonin.weights.pretrained import Layout

MODELS = {
    "esm": "chaperonin.models.esm.weights",
    "alphafold": "chaperonin.models.alphafold.layout",
    "protst": "chaperonin.models.protst.weights",
    "fm4bio": "chaperonin.models.aido.weights",
}
"""`model_type` of `config.json` → module that holds its `LAYOUT`. One line per model."""


def layout_of(model_type: object, where: str = "") -> "Layout":
    """Layout of a model type; WeightsError for one that is not in the table."""
    if model_type not in MODELS:
        known = ", ".join(MODELS)
        raise WeightsError(f"model_type {model_type!r} is not known", where=where, advice=f"Known: {known}.")
    layout: Layout = import_module(MODELS[str(model_type)]).LAYOUT
    return layout
