"""Everything a run needs to go on as if it had never stopped.

Only what is trained is kept: a frozen base stays what it was, and a checkpoint of an adapter is as small as it.
Nothing random has a state of its own: masks, crops and dropout follow from seed, step and number of the batch.
"""

import os
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from chaperonin.errors import WeightsError
from chaperonin.files import sync_folder
from chaperonin.parallel.expert import own_parts, put_together

FOLDER = "checkpoints"
BEST = "best.pt"
_PATTERN = "step-*.pt"

Tensors = Mapping[str, Tensor]


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained (not copies)."""
    return {
        name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad
    }


@torch.no_grad()
def put_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a model the values of everything that is trained in it."""
    own = trained_weights(model)
    if own.keys() != weights.keys():
        different = sorted(own.keys() ^ weights.keys())
        raise WeightsError(
            f"the checkpoint holds other parameters than are trained: {', '.join(different[:3])} …",
            advice="Give the settings the run began with, or another folder.",
        )
    for name, value in weights.items():
        own[name].copy_(value)


def training_state(model: nn.Module, optimizers: list[Optimizer], **others: Any) -> dict[str, Any]:
    """Model, optimizers, and whatever else the loop counts. Where processes share experts, each has to call it."""
    whole = partial(put_together, model)
    return {
        "model": whole(trained_weights(model)),
        "optimizers": [_with_moments(model, own, own.state_dict(), whole) for own in optimizers],
        **others,
    }


def restore(state: dict[str, Any], model: nn.Module, optimizers: list[Optimizer]) -> None:
    """Put model and optimizers where they were."""
    put_weights(model, own_parts(model, state["model"]))
    for optimizer, stored in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(_with_moments(model, optimizer, stored, partial(own_parts, model)))


def _with_moments(
    model: nn.Module, optimizer: Optimizer, stored: dict[str, Any], change: Callable[[Tensors], Tensors]
) -> dict[str, Any]:
    """An optimizer's state with what it keeps of each parameter changed, by the parameters' names."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    own = [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {
            key: change({own[number]: value})[own[number]] if value.ndim else value
            for key, value in kept.items()
        }
        for number, kept in stored["state"].items()
    }
    return {**stored, "state": state}


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after a step lies."""
    return folder / FOLDER / f"step-{step:08d}.pt"


def save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, whole or not at all: to a temporary name, synced, renamed, and the folder synced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint into main memory, without running code from it."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"the checkpoint cannot be read: it is damaged, or holds more than numbers ({type(error).__name__})",
            where=str(path),
            advice="Delete this file: the run goes on from the one before.",
        ) from error
    return state


def latest(folder: Path) -> Path | None:
    """The newest checkpoint of a run, or None."""
    return max((folder / FOLDER).glob(_PATTERN), default=None)


def remove_old(folder: Path, keep: int) -> None:
    """Leave only the newest checkpoints (and the best, which has a name of its own)."""
    for path in sorted((folder / FOLDER).glob(_PATTERN))[:-keep]:
        path.unlink()
