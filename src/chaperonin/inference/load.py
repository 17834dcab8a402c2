"""A name or a folder to a model that is ready to run on this machine."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from chaperonin.adapt.prepare import prepare
from chaperonin.errors import UsageError
from chaperonin.models import layout_of
from chaperonin.models.esm.model import ESM
from chaperonin.weights.files import read_config, weight_files
from chaperonin.weights.hub import resolve
from chaperonin.weights.pretrained import load_folder

BUNDLED = "chaperonin/esm2-tiny"
"""The model that ships inside the package."""

Precision = Literal["auto", "fp32", "bf16", "int8"]


@dataclass(frozen=True)
class Origin:
    """Where a loaded model came from and how it runs."""

    name: str
    folder: Path
    precision: str
    device: str
    parameters: int

    @cached_property
    def sha256(self) -> str:
        """Hash over the weight files: two equal hashes are the same model."""
        digest = sha256()
        for path in weight_files(self.folder):
            with path.open("rb") as opened:
                while block := opened.read(1 << 22):
                    digest.update(block)
        return digest.hexdigest()


def load(name: str = BUNDLED, *, precision: Precision = "auto", device: str = "auto") -> ESM:
    """Model by hub name, by folder, or the bundled one, in evaluation mode; `origin_of` says which.

    Nothing is downloaded: a hub name must have been pulled before (`chaperonin weights pull NAME`).

    precision: `auto` is bf16 on a GPU that has it, else fp32; `int8` is for CPUs and changes results by about a
    percent; `bf16` is refused where the processor has no such arithmetic.

    Raises WeightsError for a missing or damaged checkpoint, UnavailableError for what this machine cannot do.
    """
    folder = resolve(name)
    where = _device(device)
    layout = layout_of(read_config(folder).get("model_type"), where=str(folder))
    model = load_folder(layout, folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model, chosen = prepare(model, precision, where)
    assert isinstance(model, ESM)
    model.origin = Origin(name, folder, chosen, str(where), parameters)  # type: ignore[assignment]
    return model


def origin_of(model: nn.Module) -> Origin:
    """Where a model that `load` returned came from; UsageError for one that it did not return."""
    origin = getattr(model, "origin", None)
    if not isinstance(origin, Origin):
        raise UsageError("the model does not say where it came from", advice="Get it by chaperonin.load(…).")
    return origin


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown", advice="Write cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda was asked for and there is none", advice="Write --set device=cpu.")
    return device
