"""A whole fine-tuning: one split or folds, what they came to, and the model directory."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chaperonin.data.splitting import Parts
from chaperonin.files import write_atomically
from chaperonin.parallel.data import Processes
from chaperonin.tasks.folder import finish_trained
from chaperonin.training import state
from chaperonin.training.features import FOLDER as FEATURES
from chaperonin.training.finetune import Fitted, fit
from chaperonin.training.finetune_settings import FineTuning
from chaperonin.training.loop import Outcome
from chaperonin.training.material import Material
from chaperonin.training.results import (
    Judged,
    baseline_figures,
    drawn_curves,
    judge,
    table_header,
    table_rows,
    tested_figures,
    validation_figures,
    write_table,
)
from chaperonin.training.sweep import best_settings
from chaperonin.training.tensor_memory import peak_held_bytes

MODEL_FOLDER = "model"
"""Where in a run's folder the trained model lies."""
FIGURES, PREDICTIONS = "metrics.json", "predictions.csv"


@dataclass(frozen=True)
class Study:
    """What a fine-tuning came to."""

    figures: dict[str, Any]
    """The content of metrics.json."""
    outcome: Outcome
    """Of the run whose model is kept."""
    settings: FineTuning
    """Of that run: of a sweep, the best ones."""

    def __str__(self) -> str:
        return "\n".join([f"{self.outcome}", *_lines(self.figures)])


def study(
    settings: FineTuning,
    material: Material,
    folder: Path,
    device: torch.device,
    processes: Processes | None = None,
    predicted_bytes: int | None = None,
    sweeps: bool = False,
) -> Study:
    """Train on the split, or on each fold and then once more for the model that is kept; write what came of it.

    Folds judge the recipe: their test parts together are all examples. The model that is kept then trains on all
    but a validation part. The same call goes on where it stopped. predicted_bytes: the forecast of the peak memory,
    to be written beside the measured one. sweeps: search for the settings of each split first, on its validation part.
    """
    processes = processes or Processes()
    judged = []
    if len(material.splits) > 1:
        for number, parts in enumerate(material.splits, start=1):
            place = folder / f"fold-{number}"
            own = settings
            if sweeps:
                own = best_settings(settings, material, parts, place, device, processes, cache=folder)
            fitted = fit(own, material, parts, place, device, processes, cache=folder)
            judged.append(judge(fitted, material, parts))
        kept_parts = everything(material.splits[0])
    else:
        kept_parts = material.splits[0]
    if sweeps:
        settings = best_settings(settings, material, kept_parts, folder, device, processes)
    kept = judge(fit(settings, material, kept_parts, folder, device, processes), material, kept_parts)
    judged = judged or [kept]
    figures = _figures(settings, material, judged, kept)
    curves = drawn_curves(judged, kept, material)
    figures["cost"] = _cost(settings, kept.fitted, peak_held_bytes(device), predicted_bytes)
    figures["curves"] = curves
    if processes.is_first:
        _write(settings, material, folder, judged, kept, figures)
    return Study(figures, kept.fitted.outcome, settings)


def everything(parts: Parts) -> Parts:
    """A split whose test part trains too."""
    training = np.sort(np.concatenate([parts.training, parts.test]))
    return replace(parts, training=training, test=np.empty(0, dtype=np.int64))


def _figures(
    settings: FineTuning, material: Material, judged: Sequence[Judged], kept: Judged
) -> dict[str, Any]:
    parts = kept.parts
    return {
        "target": material.target.as_json(),
        "parts": {
            "training": len(parts.training),
            "validation": len(parts.validation),
            "test": sum(len(own.parts.test) for own in judged),
        },
        "split": parts.method + (f", {len(judged)} folds" if len(judged) > 1 else ""),
        "leaks": len({leak.second for leak in material.leaks}),
        "notes": material.dataset.notes,
        "result": tested_figures(judged, material),
        "baselines": baseline_figures(judged, material, settings.class_weights),
        "validation": validation_figures(kept, material),
        "calibration": kept.calibration.summary(),
    }


def _cost(
    settings: FineTuning, fitted: Fitted, peak_bytes: int, predicted_bytes: int | None
) -> dict[str, Any]:
    known = {} if predicted_bytes is None else {"predicted_bytes": predicted_bytes}
    return {
        "seconds": round(fitted.outcome.seconds, 3),
        "tokens": fitted.outcome.tokens,
        "trainable_parameters": fitted.trainable,
        "parameters": fitted.parameters,
        "means": describe_means(settings),
        "peak_bytes": peak_bytes,
        **known,
    }


def describe_means(settings: FineTuning) -> str:
    """The means in words: for tables and cards."""
    accumulate = settings.training.accumulate
    return str(settings.means) + (f", accumulation {accumulate}" if accumulate > 1 else "")


def _write(
    settings: FineTuning,
    material: Material,
    folder: Path,
    judged: Sequence[Judged],
    kept: Judged,
    figures: dict[str, Any],
) -> None:
    """Predictions, figures, and last the model directory: where it is, everything is."""
    tested = (row for own in judged for row in table_rows(own, material, "test"))
    rows = chain([table_header(material.target)], tested, table_rows(kept, material, "val"))
    write_table(folder / PREDICTIONS, rows)
    write_atomically(folder / FIGURES, json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    finish_trained(
        kept.fitted.trained,
        folder / MODEL_FOLDER,
        kept.calibration,
        kept.domain,
        metrics=figures,
        data=f"{len(material.items):,} labelled sequences of {Path(settings.data.input).name}",
    )
    for fold in folder.glob("fold-*"):
        shutil.rmtree(fold / state.FOLDER / "model", ignore_errors=True)
    shutil.rmtree(folder / FEATURES, ignore_errors=True)


def _lines(figures: dict[str, Any]) -> list[str]:
    """The main figures beside the baselines, a line each."""
    names = [name for name in _MAIN if name in figures["result"]]
    table = {"this model": figures["result"], **figures["baselines"]}
    return [
        f"{who:<12} " + "  ".join(f"{name} {_shown(values[name])}" for name in names if name in values)
        for who, values in table.items()
    ]


_MAIN = (
    "accuracy",
    "mcc",
    "f1",
    "auc",
    "spearman",
    "pearson",
    "rmse",
    "precision at L/5",
    "beyond 6 precision at L/5",
)


def _shown(figure: dict[str, float]) -> str:
    if "low" not in figure:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
