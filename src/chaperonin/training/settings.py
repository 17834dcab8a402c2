"""Settings of a training from what a user gives: a YAML file, or the labelled sequences themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaperonin.config import read_yaml, resolve
from chaperonin.errors import UsageError
from chaperonin.training.alignment import TASK, Alignment
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.pretrain import Pretraining

YAML_SUFFIXES = (".yaml", ".yml")


def resolve_training(
    source: Path, overrides: Sequence[str] = (), model: str | None = None
) -> FineTuning | Pretraining | Alignment:
    """A fine-tuning for labelled sequences and for a YAML file with a `task`, a pre-training for other YAML files.

    The task `protein-text` is the pre-training of a ProtST.
    """
    if source.suffix not in YAML_SUFFIXES:
        options: dict[str, Any] = {"data.input": str(source), "model": model}
        return resolve(FineTuning, overrides=overrides, options=options)
    task = read_yaml(source).get("task")
    if task == TASK:
        return resolve(Alignment, file=source, overrides=overrides, options={"model": model})
    is_fine_tuning = task is not None or any(own.startswith("task=") for own in overrides)
    if is_fine_tuning:
        return resolve(FineTuning, file=source, overrides=overrides, options={"model": model})
    if model is not None:
        raise UsageError(
            "a pre-training has the model that its file describes, not --model",
            where=str(source),
            advice="For a fine-tuning, write `task: sequence` into the file; to begin with weights, `initial: FOLDER`.",
        )
    return resolve(Pretraining, file=source, overrides=overrides)
