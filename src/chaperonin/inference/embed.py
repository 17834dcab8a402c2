"""Vectors per residue and per protein."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from chaperonin.data.sources import Rejected
from chaperonin.errors import InputError
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, JobRecord, Outcome
from chaperonin.inference.memory import batch_tokens
from chaperonin.inference.sequences import SequenceJob, SequenceSettings, fit, forecast, read_source
from chaperonin.layers.language import LanguageModel
from chaperonin.tasks import features

_ROWS = 4096
"""Rows of one Parquet row group."""


@dataclass(frozen=True)
class EmbedSettings(SequenceSettings):
    """What `embed` computes and how it is stored."""

    level: Literal["both", "residue", "protein"] = "both"
    """Which vectors are written."""
    compression: Literal["gzip", "none"] = "gzip"
    """How embeddings.h5 is packed."""


@dataclass(frozen=True)
class Embeddings:
    """Vectors of the records that could be read, in input order, and why the others could not."""

    ids: list[str]
    residues: list[NDArray[np.float32]]
    """Per record `[length, width]`."""
    proteins: NDArray[np.float32]
    """`[records, width]`: the mean over residues."""
    failures: list[Rejected]


def represent(model: LanguageModel, sequences: Sequence[str], token_budget: int) -> list[NDArray[np.float32]]:
    """Representation `[length, width]` of each sequence, without ends; long ones in blended windows."""
    return [vectors[1:] for vectors in features.represent(model, sequences, token_budget)]


def embed(
    model: LanguageModel, source: str | Path | Mapping[str, str], settings: EmbedSettings | None = None
) -> Embeddings:
    """Embed the records of a file, a folder or a mapping id → sequence, in memory.

    Identical sequences are computed once. Records that cannot be used are in `failures`, the others go on.
    """
    settings = settings or EmbedSettings()
    ids: list[str] = []
    sequences: list[str] = []
    failures: list[Rejected] = []
    for record in read_source(source, settings.unknown):
        if isinstance(record, Rejected):
            failures.append(record)
            continue
        try:
            sequence, _ = fit(record.sequence, settings.long, record.where)
        except InputError as error:
            failures.append(Rejected(record.number, record.id, record.where, error))
            continue
        ids.append(record.id)
        sequences.append(sequence)
    distinct = list(dict.fromkeys(sequences))
    budget = batch_tokens(model, settings.batch_tokens)
    vectors = dict(zip(distinct, represent(model, distinct, budget), strict=True))
    residues = [vectors[sequence] for sequence in sequences]
    means = [own.mean(axis=0) for own in residues]
    proteins = np.stack(means) if means else np.empty((0, model.config.width), dtype=np.float32)
    return Embeddings(ids, residues, proteins, failures)


def embed_job(
    model: LanguageModel,
    source: Path,
    outdir: Path,
    settings: EmbedSettings | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Embed into OUTDIR: embeddings.h5 per residue, embeddings.parquet per protein; resumes after a kill."""
    settings = settings or EmbedSettings()

    def compute(model: LanguageModel, sequences: Sequence[str], budget: int) -> list[dict[str, Any]]:
        vectors = represent(model, sequences, budget)
        proteins = [{"protein": own.mean(axis=0)} for own in vectors]
        if settings.level == "protein":
            return proteins
        return [{"residues": own, **mean} for own, mean in zip(vectors, proteins, strict=True)]

    def write(job: Job, outdir: Path, model: LanguageModel) -> list[Path]:
        files = []
        if settings.level != "residue":
            files.append(_write_parquet(job, outdir / "embeddings.parquet", model.config.width))
        if settings.level != "protein":
            files.append(_write_hdf5(job, outdir / "embeddings.h5", settings.compression))
        return files

    return SequenceJob("embed", settings, compute, write, partial(_result_bytes, settings)).run(
        model, source, outdir, overwrite
    )


def forecast_embed(model: LanguageModel, source: Path, settings: EmbedSettings) -> str:
    """What `embed_job` would take."""
    return forecast(model, source, settings, partial(_result_bytes, settings))


def _result_bytes(settings: EmbedSettings, model: LanguageModel, length: int) -> int:
    vectors = 1 if settings.level == "protein" else 1 + length
    return 4 * model.config.width * vectors


def _done(job: Job) -> Iterator[JobRecord]:
    return (record for record in job.records() if not record.failed)


def _write_parquet(job: Job, path: Path, width: int) -> Path:
    vector = pa.list_(pa.float32(), width)
    schema = pa.schema([("id", pa.string()), ("length", pa.int32()), ("embedding", vector)])
    with atomic_file(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        rows: list[tuple[str, int, NDArray[np.float32]]] = []

        def flush() -> None:
            flat = np.concatenate([vector for *_, vector in rows]) if rows else np.empty(0, np.float32)
            columns = [
                pa.array([id for id, *_ in rows], pa.string()),
                pa.array([length for _, length, _ in rows], pa.int32()),
                pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), width),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            rows.clear()

        for record in _done(job):
            rows.append((record.id, record.extra["length"], job.result(record.unit, "protein")["protein"]))
            if len(rows) == _ROWS:
                flush()
        flush()
    return path


def _write_hdf5(job: Job, path: Path, compression: str) -> Path:
    """One dataset per distinct sequence, named as biotrainer names it; `original_id` is its first record's."""
    packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compression == "gzip" else {}
    with atomic_file(path) as temporary, h5py.File(temporary, "w", libver="latest") as opened:
        for record in _done(job):
            if record.unit not in opened:
                dataset = opened.create_dataset(
                    record.unit, data=job.result(record.unit, "residues")["residues"], **packing
                )
                dataset.attrs["original_id"] = record.id
    return path
