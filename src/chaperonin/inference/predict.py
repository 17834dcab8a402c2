"""What a fine-tuned model says of proteins: labels, calibrated probabilities, and whether it knows such proteins."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from chaperonin.data.sources import Rejected, csv_cell
from chaperonin.errors import InputError, UsageError
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, JobRecord, Outcome
from chaperonin.inference.load import origin_of
from chaperonin.inference.memory import batch_tokens
from chaperonin.inference.sequences import SequenceJob, SequenceSettings, fit, read_source
from chaperonin.layers.language import LanguageModel
from chaperonin.protein.sequence import file_names
from chaperonin.tasks.features import represent
from chaperonin.tasks.folder import Trained
from chaperonin.tasks.prediction import Output, Prediction, cells, header
from chaperonin.tasks.target import Target

BUNDLED_ADAPTER = "chaperonin/esm2-tiny-membrane"
"""What predicts when nothing else is named: membrane or soluble, by the model that ships inside the package."""
FILE, RESIDUES, PAIRS = "predictions.csv", "residues.parquet", "pairs"
_ROWS = 1 << 16
"""Residues of one Parquet row group."""


@dataclass(frozen=True)
class PredictSettings(SequenceSettings):
    """What `predict` computes."""

    model: str = BUNDLED_ADAPTER
    """Folder that `chaperonin train` wrote, or a bundled adapter."""


@dataclass(frozen=True)
class Predictions:
    """Predictions of the records that could be read, in input order, and why the others could not."""

    target: Target
    ids: list[str]
    predictions: list[Prediction]
    failures: list[Rejected]

    def __iter__(self) -> Iterator[tuple[str, Prediction]]:
        return zip(self.ids, self.predictions, strict=True)


def trained_of(model: LanguageModel) -> Trained:
    """What `load` found beside the model; UsageError for a model that was not fine-tuned."""
    origin = origin_of(model)
    if origin.trained is None:
        raise UsageError(
            f"{origin.name} is a language model and predicts no property",
            advice=f"Give --model a folder that `chaperonin train` wrote, or {BUNDLED_ADAPTER}.",
        )
    return origin.trained


def predict(
    model: LanguageModel, source: str | Path | Mapping[str, str], settings: PredictSettings | None = None
) -> Predictions:
    """Predict for the records of a file, a folder or a mapping id → sequence, in memory.

    Identical sequences are computed once. Records that cannot be used are in `failures`, the others go on.
    """
    settings = settings or PredictSettings()
    trained = trained_of(model)
    ids: list[str] = []
    sequences: list[str] = []
    failures: list[Rejected] = []
    for record in read_source(source, settings.unknown):
        try:
            if isinstance(record, Rejected):
                raise record.error
            sequence, _ = fit(record.sequence, settings.long, record.where)
        except InputError as error:
            failures.append(Rejected(record.number, record.id, record.where, error))
            continue
        ids.append(record.id)
        sequences.append(sequence)
    distinct = list(dict.fromkeys(sequences))
    outputs = outputs_of(model, distinct, batch_tokens(model, settings.batch_tokens)) if distinct else []
    found = {sequence: trained.prediction(output) for sequence, output in zip(distinct, outputs, strict=True)}
    return Predictions(trained.target, ids, [found[sequence] for sequence in sequences], failures)


def outputs_of(model: LanguageModel, sequences: Sequence[str], token_budget: int) -> list[Output]:
    """Logits and distance of each sequence; long ones from blended windows."""
    return trained_of(model).outputs(represent(model, sequences, token_budget))


def predict_job(
    model: LanguageModel,
    source: Path,
    outdir: Path,
    settings: PredictSettings | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Predict into OUTDIR: predictions.csv, and per residue or pair a file of its own; resumes after a kill."""
    trained = trained_of(model)

    def write(job: Job, outdir: Path, model: LanguageModel) -> list[Path]:
        return write_predictions(job, outdir, trained)

    return SequenceJob(
        "predict", settings or PredictSettings(), compute, write, result_bytes, alone_bytes(trained.target)
    ).run(model, source, outdir, overwrite)


def compute(model: LanguageModel, sequences: Sequence[str], budget: int) -> list[dict[str, Any]]:
    """The arrays that a job keeps of each sequence."""
    outputs = outputs_of(model, sequences, budget)
    return [
        {
            "logits": output.logits,
            "distance": np.float64(output.distance),
            "sequence": np.frombuffer(sequence.encode(), np.uint8),
        }
        for sequence, output in zip(sequences, outputs, strict=True)
    ]


def result_bytes(model: LanguageModel, length: int) -> int:
    """Size of what `compute` keeps of one sequence."""
    target = trained_of(model).target
    logits = {"sequence": target.outputs, "residue": length * target.outputs, "pairs": length**2}
    return 4 * logits[target.level] + length + 8


def alone_bytes(target: Target) -> Any:
    """Length → what the pairs of one protein need besides the batch: sums, logits and probabilities, in 8 bytes."""
    return lambda length: 6 * 8 * length**2 if target.level == "pairs" else 0


def write_predictions(job: Job, outdir: Path, trained: Trained, more: Sequence[str] = ()) -> list[Path]:
    """Write predictions.csv and what belongs to it; `more` as for `write_rows`."""
    target = trained.target

    def prediction(record: JobRecord) -> Prediction:
        return trained.prediction(stored_output(job, record))

    files = [write_rows(job, outdir / FILE, target, prediction, more)]
    if target.level == "residue":
        files.append(_write_residues(job, outdir / RESIDUES, trained))
    if target.level == "pairs":
        files += _write_pairs(job, outdir / PAIRS, trained)
    return files


def write_rows(
    job: Job,
    path: Path,
    target: Target,
    prediction: Callable[[JobRecord], Prediction],
    more: Sequence[str] = (),
) -> Path:
    """Write predictions.csv; `more` are entries of the records that follow the id."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened, lineterminator="\n")
        lines.writerow(["id", *more, *header(target)])
        for record in _done(job):
            own = [record.extra[name] for name in more]
            lines.writerow([csv_cell(record.id), *own, *cells(prediction(record), target)])
    return path


def stored_output(job: Job, record: JobRecord) -> Output:
    """What `compute` kept."""
    arrays = job.result(record.unit, "logits", "distance")
    return Output(arrays["logits"], float(arrays["distance"]))


def _done(job: Job) -> Iterator[JobRecord]:
    return (record for record in job.records() if not record.failed)


def _sequence(job: Job, record: JobRecord) -> str:
    letters: str = job.result(record.unit, "sequence")["sequence"].tobytes().decode()
    return letters


def _write_residues(job: Job, path: Path, trained: Trained) -> Path:
    """One row per residue: id, position from 1, residue, label and the probability of each class, or the value."""
    target = trained.target
    names = [f"p_{name}" for name in target.classes] or ["value"]
    fields = [("id", pa.string()), ("position", pa.int32()), ("residue", pa.string())]
    fields += [("label", pa.string())] * bool(target.classes) + [(name, pa.float32()) for name in names]
    schema = pa.schema(fields)
    with atomic_file(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        waiting: list[pa.Table] = []
        for record in _done(job):
            prediction = trained.prediction(stored_output(job, record))
            assert prediction.residues is not None
            sequence = _sequence(job, record)
            columns = [[record.id] * len(sequence), range(1, len(sequence) + 1), list(sequence)]
            columns += [_labels(prediction.residues, target)] * bool(target.classes)
            columns += list(prediction.residues.reshape(len(sequence), -1).T)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            waiting.append(pa.Table.from_arrays(arrays, schema=schema))
            if sum(map(len, waiting)) >= _ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    return path


def _labels(residues: NDArray[np.float64], target: Target) -> list[str]:
    return [target.classes[number] for number in residues.argmax(axis=1)]


def _write_pairs(job: Job, folder: Path, trained: Trained) -> list[Path]:
    folder.mkdir(exist_ok=True)
    names = file_names(record.id for record in _done(job))
    files = []
    for record in _done(job):
        prediction = trained.prediction(stored_output(job, record))
        assert prediction.pairs is not None
        path = folder / f"{names[record.id]}.npz"
        with atomic_file(path) as temporary, temporary.open("wb") as opened:
            np.savez_compressed(
                opened,
                pairs=prediction.pairs.astype(np.float32),
                sequence=np.array(_sequence(job, record)),
                id=np.array(record.id),
            )
        files.append(path)
    return files
