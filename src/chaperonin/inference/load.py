"""A name or a folder to a model that is ready to run on this machine."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from chaperonin.adapt.filled import load_filled
from chaperonin.adapt.prepare import prepare
from chaperonin.adapt.streamed import load_streamed
from chaperonin.errors import UsageError
from chaperonin.kernels.hardware import choose_device
from chaperonin.layers.language import LanguageModel
from chaperonin.models import layout_of
from chaperonin.tasks.folder import Trained, read_trained, trained_folder, weights_digest
from chaperonin.weights.files import read_config, weight_files
from chaperonin.weights.headers import count_parameters
from chaperonin.weights.hub import resolve
from chaperonin.weights.pretrained import Layout, load_folder

BUNDLED = "chaperonin/esm2-tiny"
"""The model that ships inside the package."""

Precision = Literal["auto", "fp32", "bf16", "int8"]
Layers = Literal["memory", "disk"]
"""Where the layers of a model are between their turns."""


@dataclass(frozen=True)
class Origin:
    """Where a loaded model came from and how it runs."""

    name: str
    folder: Path
    precision: str
    device: str
    parameters: int
    trained: Trained | None = None
    """Head, classes and calibration, where it is a model that was fine-tuned here."""

    @cached_property
    def sha256(self) -> str:
        """Hash over what results depend on, the weight files: two equal hashes are the same model."""
        return weights_digest(self.folder) if self.trained is None else self.trained.sha256


def load(
    name: str = BUNDLED, *, precision: Precision = "auto", device: str = "auto", layers: Layers = "memory"
) -> LanguageModel:
    """Model by hub name, by folder, or the bundled one, in evaluation mode; `origin_of` says which.

    A folder that `chaperonin train` wrote gives the model with what it learned in its weights, and its head beside it.
    Nothing is downloaded: a hub name must have been pulled before (`chaperonin weights pull NAME`).

    precision: `auto` is bf16 on a GPU that has it, else fp32; `int8` is for CPUs and changes results by about a
    percent; `bf16` is refused where the processor has no such arithmetic. A mixture of experts has one byte per weight
    in int8 on any processor.
    layers: `disk` keeps only one layer of an AIDO.Protein in memory, and reads each for its turn in every pass.

    Raises WeightsError for a missing or damaged checkpoint, UnavailableError for what this machine cannot do.
    """
    where = choose_device(device, advice="Write --set device=cpu.")
    own = trained_folder(name)
    trained = None if own is None else read_trained(own)
    if trained is None:
        folder = resolve(name)
        kind = read_config(folder).get("model_type")
        layout = layout_of(kind, where=str(folder))
        if kind == "fm4bio":
            filled, chosen = _load_large(layout, folder, precision, where, layers)
            parameters = count_parameters(weight_files(folder))
            filled.origin = Origin(name, folder, chosen, str(where), parameters)  # type: ignore[assignment]
            return filled
        if layers == "disk":
            raise UsageError(
                f"{name} is no AIDO.Protein, whose layers alone may stay on disk",
                where="layers",
                advice="Leave layers=memory.",
            )
        if kind != "esm":
            raise UsageError(
                f"{name} is no language model",
                advice="`chaperonin fold` runs an AlphaFold, `search` and --prompts run a ProtST.",
            )
        model = load_folder(layout, folder)
        assert isinstance(model, LanguageModel)
    else:
        folder, model = trained.folder, trained.backbone()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model, chosen = prepare(model, precision, where)
    assert isinstance(model, LanguageModel)
    model.origin = Origin(name, folder, chosen, str(where), parameters, trained)  # type: ignore[assignment]
    return model


def _load_large(
    layout: Layout, folder: Path, precision: Precision, device: torch.device, layers: Layers
) -> tuple[LanguageModel, str]:
    """A model that may nearly fill the memory, or fill it more than once."""
    if layers == "disk":
        chosen: Literal["fp32", "int8"] = "int8" if precision == "int8" else "fp32"
        return load_streamed(layout, folder, chosen, device), chosen
    model, precise = load_filled(layout, folder, precision, device)
    assert isinstance(model, LanguageModel)
    return model, precise


def origin_of(model: nn.Module) -> Origin:
    """Where a model that `load` returned came from; UsageError for one that it did not return."""
    origin = getattr(model, "origin", None)
    if not isinstance(origin, Origin):
        raise UsageError("the model does not say where it came from", advice="Get it by chaperonin.load(…).")
    return origin
