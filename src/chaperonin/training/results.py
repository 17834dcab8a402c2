"""What a fine-tuning came to: figures with their intervals beside baselines, and every prediction."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.sources import csv_cell
from chaperonin.data.splitting import Parts
from chaperonin.files import atomic_file
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.curves import curves
from chaperonin.tasks.domain import Domain
from chaperonin.tasks.figures import figures
from chaperonin.tasks.prediction import Output, cells, header, predict_one
from chaperonin.tasks.target import Target
from chaperonin.tasks.weights import ClassWeights
from chaperonin.training.baselines import baselines
from chaperonin.training.finetune import Fitted
from chaperonin.training.material import Material


@dataclass(frozen=True)
class Judged:
    """One split's model with its calibration, and what it says of the examples it may be judged by."""

    fitted: Fitted
    parts: Parts
    calibration: Calibration
    domain: Domain | None
    probabilities: list[NDArray[Any]]
    """Calibrated, of every example; values for a regression."""
    distances: NDArray[np.float64]
    """Of every example; nan where there is no domain."""


def judge(fitted: Fitted, material: Material, parts: Parts) -> Judged:
    """Calibrate on the validation part and measure the distance of every example from the training part."""
    target = material.target
    calibration = _calibrate(fitted, material, parts)
    domain = Domain.fit(fitted.embeddings[parts.training], fitted.embeddings[parts.validation])
    distances = np.full(len(material.items), np.nan) if domain is None else domain.distance(fitted.embeddings)
    probabilities = [calibration.apply(own, target) for own in fitted.outputs]
    return Judged(fitted, parts, calibration, domain, probabilities, distances)


def _calibrate(fitted: Fitted, material: Material, parts: Parts) -> Calibration:
    """From the validation part; where there is none, logits stay what they are."""
    chosen = [int(number) for number in parts.validation]
    if not chosen:
        return Calibration()
    target = material.target
    logits, truth = [], []
    for number in chosen:
        own, label = fitted.outputs[number], material.items[number].target
        if target.level == "pairs":
            own, label = _pair_rows(own, label)
        logits.append(np.atleast_2d(own) if own.ndim < 2 or target.level == "residue" else own)
        truth.append(np.atleast_1d(label) if target.level != "sequence" else label[None])
    return Calibration.fit(np.concatenate(logits), np.concatenate(truth), target)


def _pair_rows(logits: NDArray[Any], pairs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs above the diagonal as rows, and whether each touches."""
    rows, columns = np.triu_indices(len(logits), 1)
    touching = np.zeros(logits.shape, dtype=np.int64)
    if len(pairs):
        touching[pairs[:, 0], pairs[:, 1]] = 1
    return logits[rows, columns][:, None], touching[rows, columns]


def table_header(target: Target) -> list[str]:
    """Columns of predictions.csv."""
    return ["id", "stage", "truth", *header(target)]


def table_rows(judged: Judged, material: Material, stage: Literal["val", "test"]) -> Iterator[list[str]]:
    """Rows of predictions.csv for one part."""
    numbers = judged.parts.test if stage == "test" else judged.parts.validation
    for number in map(int, numbers):
        example = material.dataset.examples[number]
        output = Output(judged.fitted.outputs[number], float(judged.distances[number]))
        said = predict_one(output, material.target, judged.calibration)
        yield [csv_cell(example.id), stage, csv_cell(example.label), *cells(said, material.target)]


def tested_figures(judged: Sequence[Judged], material: Material) -> dict[str, dict[str, float]]:
    """Figures over the test parts of all splits together; those that rank proteins are means over the splits."""
    return figures(material.target, *_compared(_tested(judged), material), folds=_folds(judged))


def validation_figures(judged: Judged, material: Material) -> dict[str, dict[str, float]]:
    """Figures of the validation part, which chose the weights: kinder than those of the test part."""
    return figures(material.target, *_compared(_validated(judged), material))


def drawn_curves(judged: Sequence[Judged], kept: Judged, material: Material) -> dict[str, Any]:
    """Curves of the test parts of all splits together; where there is none, of the validation part.

    One curve goes through the scores of all folds' models, so its area is not the mean of theirs.
    """
    return curves(material.target, *_compared(_tested(judged) or _validated(kept), material))


def _tested(judged: Sequence[Judged]) -> list[tuple[Judged, int]]:
    """Numbers of examples, each with the model that it is a test of."""
    return [(own, int(number)) for own in judged for number in own.parts.test]


def _folds(judged: Sequence[Judged]) -> list[int]:
    """Which of the models each of `_tested` is a test of."""
    return [number for number, own in enumerate(judged) for _ in own.parts.test]


def _validated(judged: Judged) -> list[tuple[Judged, int]]:
    return [(judged, int(number)) for number in judged.parts.validation]


def _compared(
    chosen: Sequence[tuple[Judged, int]], material: Material
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Labels, and what was said."""
    truth = [material.items[number].target for _, number in chosen]
    return truth, [own.probabilities[number] for own, number in chosen]


def baseline_figures(
    judged: Sequence[Judged], material: Material, weights: ClassWeights
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of what needs no language model, on the same test parts; classes weighted as the model's were."""
    target = material.target
    truth = [item.target for item in material.items]
    said: dict[str, list[Any]] = {}
    for own in judged:
        if not len(own.parts.test):
            continue
        found = baselines(
            target.kind, material.sequences, truth, own.parts, target.classes, target.level, weights
        )
        for name, probabilities in found.items():
            said.setdefault(name, []).extend(probabilities)
    tested = [truth[number] for _, number in _tested(judged)]
    folds = _folds(judged)
    return {name: figures(target, tested, probabilities, folds=folds) for name, probabilities in said.items()}


def write_table(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """A CSV file, whole or not there."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(rows)
