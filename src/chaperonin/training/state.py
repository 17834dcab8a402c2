"""Everything a run needs to go on as if it had never stopped."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from chaperonin.errors import WeightsError

FOLDER = "checkpoints"
BEST = "best.pt"
_PATTERN = "step-*.pt"


def random_states() -> dict[str, Any]:
    """States of torch's generators (data and masks take theirs from seed and place, and need none)."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: dict[str, Any]) -> None:
    """Put torch's generators where they were; a run that moved to a machine without GPU leaves those out."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def training_state(model: nn.Module, optimizers: list[Optimizer], **others: Any) -> dict[str, Any]:
    """Model, optimizers, generators, and whatever else the loop counts."""
    return {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "random": random_states(),
        **others,
    }


def restore(state: dict[str, Any], model: nn.Module, optimizers: list[Optimizer]) -> None:
    """Put model, optimizers and generators where they were."""
    model.load_state_dict(state["model"])
    for optimizer, stored in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(stored)
    restore_random_states(state["random"])


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
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint without running code from it."""
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
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
