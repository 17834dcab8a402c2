"""How good a fine-tuned model is on labelled proteins: metrics with intervals, and predictions beside the truth."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.labelled import Dataset, Example, LabelSettings, read_labelled
from chaperonin.errors import ChaperoninError, InputError
from chaperonin.files import write_atomically
from chaperonin.inference.jobs import Job, JobRecord, Outcome
from chaperonin.inference.predict import (
    BUNDLED_ADAPTER,
    alone_bytes,
    compute,
    result_bytes,
    stored_output,
    trained_of,
    write_predictions,
)
from chaperonin.inference.sequences import SequenceJob, SequenceSettings, fit, sequence_key, tokens_of
from chaperonin.layers.language import LanguageModel
from chaperonin.tasks.calibration import calibration_error, confidences
from chaperonin.tasks.curves import curves
from chaperonin.tasks.figures import figures
from chaperonin.tasks.folder import METRICS, Trained
from chaperonin.tasks.target import Target


@dataclass(frozen=True)
class EvaluateSettings(SequenceSettings):
    """What `evaluate` reads and computes."""

    model: str = BUNDLED_ADAPTER
    """Folder that `chaperonin train` wrote, or a bundled adapter."""
    data: LabelSettings = field(default_factory=LabelSettings)
    """How the labels stand in INPUT."""
    stage: str = ""
    """Only records of this stage, `test` say; empty: all."""
    draws: int = 1000
    """Resamplings of the proteins, for the intervals."""


LABELS = ("stage", "truth", "length")
"""Columns of predictions.csv that follow the id: what the record says itself."""


def labelled(settings: EvaluateSettings, source: Path) -> Dataset:
    """The examples of the stage; InputError where there are none."""
    unknown = settings.unknown or settings.data.unknown
    dataset = read_labelled(replace(settings.data, input=str(source), unknown=unknown))
    chosen = [one for one in dataset.examples if settings.stage in ("", one.stage)]
    if not chosen:
        raise InputError(
            f"no record has the stage {settings.stage!r}", where=str(source), advice="Leave stage out."
        )
    return replace(dataset, examples=chosen)


@dataclass(frozen=True)
class LabelledJob(SequenceJob):
    """A job over examples, which keep their label."""

    target: Target = field(kw_only=True)
    read: Callable[[Path], Dataset] = field(kw_only=True)
    """Input → the examples, with labels of the target."""

    def _plan(self, job: Job, source: Path, model: LanguageModel) -> None:
        dataset = self.read(source)
        with job.planning() as plan:
            for rejected in dataset.rejected:
                plan.failure(rejected.number, rejected.id, rejected.error)
            for example in dataset.examples:
                try:
                    sequence = self._usable(example, model)
                except ChaperoninError as error:
                    plan.failure(example.number, example.id, error)
                    continue
                key = sequence_key(sequence)
                size = self.result_bytes(model, len(sequence))
                plan.unit(key, {"sequence": sequence}, tokens_of(len(sequence)), size)
                extra = {"length": len(sequence), "truth": example.label, "stage": example.stage, "notes": []}
                plan.record(example.number, example.id, key, extra, example.where)

    def _usable(self, example: Example, model: LanguageModel) -> str:
        """The sequence as it will be run; an error where it or its label cannot be used."""
        sequence, cut = fit(example.sequence, self.settings.long, example.where)
        if cut and self.target.level != "sequence":
            raise InputError(
                "the sequence would be cut and its labels not",
                where=example.where,
                advice="Use --long window.",
            )
        self.target.encode(example.label, len(sequence), example.where)
        self._check_memory(model, len(sequence), example.where)
        return sequence


def evaluate_job(
    model: LanguageModel,
    source: Path,
    outdir: Path,
    settings: EvaluateSettings | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Evaluate into OUTDIR: metrics.json and predictions.csv with the truth; resumes after a kill."""
    settings = settings or EvaluateSettings()
    trained = trained_of(model)

    def write(job: Job, outdir: Path, model: LanguageModel) -> list[Path]:
        files = write_predictions(job, outdir, trained, LABELS)
        return [*files, write_metrics(outdir, judge(job, trained, settings.draws))]

    return LabelledJob(
        "evaluate",
        settings,
        compute,
        write,
        result_bytes,
        alone_bytes(trained.target),
        target=trained.target,
        read=partial(labelled, settings),
    ).run(model, source, outdir, overwrite)


def judge(job: Job, trained: Trained, draws: int) -> dict[str, Any]:
    """What metrics.json says of the records that have a result."""
    target = trained.target

    def probabilities(record: JobRecord) -> NDArray[Any]:
        return trained.calibration.apply(stored_output(job, record).logits, target)

    truth, found = outcomes(job, target, probabilities)
    if target.level == "pairs":
        found = [own[..., 1] for own in found]
    report = {
        "target": target.as_json(),
        "parts": {"test": len(truth)},
        "result": figures(target, truth, found, draws),
        "calibration": _calibration(target, trained, truth, found),
    }
    stored = trained.folder / METRICS
    if stored.is_file():
        report["as_trained"] = json.loads(stored.read_text(encoding="utf-8")).get("result", {})
    report["curves"] = curves(target, truth, found)
    return report


def outcomes(
    job: Job, target: Target, said: Callable[[JobRecord], NDArray[Any]]
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Encoded truth of each record that has a result, and what is said of it."""
    truth, found = [], []
    for record in job.records():
        if not record.failed:
            truth.append(target.encode(record.extra["truth"], record.extra["length"]))
            found.append(said(record))
    return truth, found


def write_metrics(outdir: Path, judged: dict[str, Any]) -> Path:
    """metrics.json of an evaluation."""
    write_atomically(outdir / METRICS, json.dumps(judged, indent=2, ensure_ascii=False) + "\n")
    return outdir / METRICS


def _calibration(
    target: Target, trained: Trained, truth: Sequence[NDArray[Any]], found: Sequence[NDArray[Any]]
) -> dict[str, Any]:
    """The model's own calibration, and its error on these proteins."""
    summary = trained.calibration.summary()
    if target.kind == "regression" or target.level == "pairs" or not truth:
        return summary
    classes = len(target.classes)
    shares = np.concatenate([own.reshape(-1, classes) for own in found])
    wide = target.kind == "multilabel"
    known = np.concatenate([own.reshape(-1, classes) if wide else own.reshape(-1) for own in truth])
    keep = (known >= 0).all(axis=1) if wide else known >= 0
    if not keep.any():
        return summary
    return {**summary, "ece_here": calibration_error(*confidences(shares[keep], known[keep], target.kind))}
