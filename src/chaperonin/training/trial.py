"""One row of a comparison, alone in a process.

    python -m chaperonin.training.trial forecast|train FOLDER SPLIT DEVICE

Peak memory belongs to a process, not to a call: what ran before would be counted, and what an allocator holds back
would not. FOLDER holds settings.yaml and gets forecast.json or train.json.
"""

import json
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from chaperonin.adapt.prepare import prepare
from chaperonin.config import resolve
from chaperonin.errors import ChaperoninError, UsageError
from chaperonin.files import write_atomically
from chaperonin.kernels.host_memory import resident_bytes
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.features import in_chunks
from chaperonin.tasks.figures import figures
from chaperonin.tasks.folder import Base, read_trained, save_trained
from chaperonin.training.finetune import EVALUATION_TOKENS, Learned, learn
from chaperonin.training.finetune_forecast import forecast
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.material import Material, material_of
from chaperonin.training.tensor_memory import peak_held_bytes, settles

SETTINGS, WORK = "settings.yaml", "work"


@dataclass(frozen=True)
class Trial:
    """What a process is asked for."""

    settings: FineTuning
    material: Material
    split: int
    """Number into the material's splits."""
    device: torch.device
    work: Path
    """For checkpoints; removed afterwards."""


def foresee(trial: Trial) -> dict[str, Any]:
    """What `train --dry-run` predicts: memory in bytes, seconds."""
    found = forecast(trial.settings, trial.material, trial.device)
    return {"predicted_bytes": found.memory_bytes, "predicted_seconds": found.seconds}


def train(trial: Trial) -> dict[str, Any]:
    """Train, take time and memory, and only then judge by the test part.

    The seconds go from loading the model to the last step, evaluations and checkpoints included; imports are not.
    """
    settings, material = trial.settings, trial.material
    _import_all(settings)
    parts = material.splits[trial.split]
    if not len(parts.test):
        raise UsageError(
            "without a test part nothing says how good a row is",
            where="split.test_share",
            advice="Give it a share.",
        )
    settles(settings.training, 0, trial.device)
    held = resident_bytes()
    begun = time.perf_counter()
    learned = learn(settings, material, parts, trial.work, trial.device)
    seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "step_seconds": learned.outcome.seconds,
        "peak_bytes": peak_held_bytes(trial.device),
        "held_bytes": held,
        "steps": learned.outcome.step,
        "tokens": learned.outcome.tokens,
        "trainable": learned.trainable,
        "parameters": learned.parameters,
        "figures": _judged(trial, learned),
    }


def _import_all(settings: FineTuning) -> None:
    """Load what would otherwise be loaded by the first step, for seconds that are no part of the training."""
    import_module("torch._dynamo")
    if settings.means.method == "lora":
        import_module("peft")


def _judged(trial: Trial, learned: Learned) -> dict[str, dict[str, float]]:
    """Figures of the test part with their bootstrap intervals, by the model as `predict` would load it."""
    settings, material = trial.settings, trial.material
    folder = trial.work / "model"
    base = Base.of(settings.model)
    save_trained(folder, learned.predictor, base, Calibration(), None, method=settings.means.method)
    trained = read_trained(folder)
    model, _ = prepare(trained.backbone(), "fp32", trial.device)
    test = [int(number) for number in material.splits[trial.split].test]
    sequences = [material.dataset.examples[number].sequence for number in test]
    said = {
        number: Calibration().apply(trained.outputs([vectors])[0].logits, material.target)
        for number, vectors in in_chunks(model, sequences, EVALUATION_TOKENS)
    }
    truth = [material.items[number].target for number in test]
    return figures(material.target, truth, [said[number] for number in range(len(test))])


MODES = {"forecast": foresee, "train": train}


def main(arguments: list[str]) -> int:
    """Do what is asked; an error that is the input's or the machine's is the last line of stderr."""
    mode, folder, split, device = arguments[0], Path(arguments[1]), int(arguments[2]), arguments[3]
    work = folder / WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        settings = resolve(FineTuning, file=folder / SETTINGS)
        material = material_of(settings)
        found = MODES[mode](Trial(settings, material, split, torch.device(device), work))
    except ChaperoninError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_atomically(folder / f"{mode}.json", json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
