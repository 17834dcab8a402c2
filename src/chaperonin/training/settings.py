"""Settings of a training from what a user gives: a YAML file, or the labelled sequences themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chaperonin.config import read_yaml, resolve
from chaperonin.errors import UsageError
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.pretrain import Pretraining

YAML_SUFFIXES = (".yaml", ".yml")


def resolve_training(
    source: Path, overrides: Sequence[str] = (), model: str | None = None
) -> FineTuning | Pretraining:
    """A fine-tuning for labelled sequences and for a YAML file with a `task`, a pre-training for other YAML files."""
    if source.suffix not in YAML_SUFFIXES:
        options: dict[str, Any] = {"data.input": str(source), "model": model}
        return resolve(FineTuning, overrides=overrides, options=options)
    is_fine_tuning = "task" in read_yaml(source) or any(own.startswith("task=") for own in overrides)
    if is_fine_tuning:
        return resolve(FineTuning, file=source, overrides=overrides, options={"model": model})
    if model is not None:
        raise UsageError(
            "a pre-training begins with fresh weights, not with --model",
            where=str(source),
            advice="For a fine-tuning, write `task: sequence` into the file.",
        )
    return resolve(Pretraining, file=source, overrides=overrides)
