"""From log-probabilities to scores.csv: one line for each variant that has a score, in the order of the input."""

import csv
from array import array
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.sources import Record, csv_cell
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, JobRecord
from chaperonin.inference.score_compute import COLUMN
from chaperonin.inference.score_input import VariantFile, VariantRow
from chaperonin.inference.score_plan import is_plain
from chaperonin.inference.score_survey import MARGINALS, Tables, Unreadable, pseudo_likelihood_keys, scanned
from chaperonin.inference.score_windows import window_weights
from chaperonin.protein.substitution import blosum62_score
from chaperonin.protein.variant import Substitution, indices, saturation

SCORE = "score"
PSEUDO_LIKELIHOOD = "pseudo_log_likelihood"
ASSAY = "DMS_id"
MEASURED, BINARY = "DMS_score", "DMS_score_bin"

Position = NDArray[np.float64]
"""Log-probabilities of the 25 residues at one position."""


class Results:
    """What the job computed, as numbers about variants."""

    def __init__(self, job: Job, official: bool) -> None:
        self._job = job
        self._official = official
        self._weights = window_weights(official)
        # Rows of a table share positions and wild types: what was just read is asked for again.
        self._group = lru_cache(maxsize=4096)(self._read)
        self._windows = lru_cache(maxsize=64)(self._blend)
        self._likelihood = lru_cache(maxsize=1024)(self._sum)

    def positions(self, keys: Sequence[str]) -> dict[int, Position]:
        """Values of all positions that some passes of one protein have read."""
        if len(keys) == 1:
            return self._group(keys[0])
        if keys and is_plain(keys[0]):
            return self._windows(tuple(keys))
        return {position: row for key in keys for position, row in self._group(key).items()}

    def pseudo_log_likelihood(self, sequence: str, protocol: str) -> float:
        """Sum over positions of log p(own residue)."""
        return self._likelihood(sequence, protocol)

    def _sum(self, sequence: str, protocol: str) -> float:
        keys = pseudo_likelihood_keys(sequence, protocol, self._official)
        if len(keys) > 1 and is_plain(keys[0]):
            return float(sum(self._blend(tuple(keys)).values()))
        return float(sum(self._job.result(key)["log_probabilities"].sum(dtype=np.float64) for key in keys))

    def _read(self, key: str) -> dict[int, Position]:
        result = self._job.result(key)
        values = result["log_probabilities"].astype(np.float64)
        return dict(zip(result["positions"].tolist(), values, strict=True))

    def _blend(self, keys: tuple[str, ...]) -> dict[int, Position]:
        """Weighted mean of each position over the windows that see it."""
        sums: dict[int, Position] = {}
        weights: dict[int, float] = {}
        for key in keys:
            start = int(self._job.result(key)["start"])
            for position, values in self._read(key).items():
                weight = self._weights[position + 1 - start]
                sums[position] = sums.get(position, 0.0) + weight * values
                weights[position] = weights.get(position, 0.0) + weight
        return {position: values / weights[position] for position, values in sums.items()}


def marginal(
    rows: Mapping[int, Position], substitutions: Iterable[Substitution], positions: Iterable[int]
) -> float:
    """Sum over substitutions of log p(new residue) - log p(wild-type residue)."""
    score = 0.0
    for substitution, position in zip(substitutions, positions, strict=True):
        row = rows[position]
        score += row[COLUMN[substitution.mutant]] - row[COLUMN[substitution.wild_type]]
    return float(score)


@dataclass
class AssayScores:
    """Scores of one table beside what was measured."""

    name: str
    measured: "array[float]" = field(default_factory=lambda: array("d"))
    predicted: "array[float]" = field(default_factory=lambda: array("d"))
    binary: "array[float]" = field(default_factory=lambda: array("d"))
    """NaN where the table does not say."""
    depths: "array[int]" = field(default_factory=lambda: array("l"))
    blosum62: "array[float]" = field(default_factory=lambda: array("d"))
    """NaN for insertions and deletions."""
    unmeasured: int = 0


def write_variants(job: Job, tables: Tables, official: bool, path: Path) -> list[AssayScores]:
    """Write scores.csv for tables: their columns, then the score. Returns what an evaluation needs."""
    results = Results(job, official)
    header = _header(tables)
    several, whole = len(tables) > 1, _reads_whole_sequences(job)
    names = [f"input_{name}" if name in (SCORE, PSEUDO_LIKELIHOOD) else name for name in header]
    assays = []
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
        closing(_records(job)) as records,
    ):
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([ASSAY] * several + names + [SCORE] + [PSEUDO_LIKELIHOOD] * whole)
        for table in tables:
            if isinstance(table, Unreadable):
                next(records)
                continue
            assay = AssayScores(table.name)
            assays.append(assay)
            for row in table.rows():
                record = next(records)
                if record.failed:
                    continue
                score, likelihood = _scores(results, row, record, table.first, official)
                _note(assay, row, score)
                cells = [csv_cell(row.columns.get(name, "")) for name in header]
                lines.writerow(
                    [table.name] * several + cells + [_number(score)] + [_number(likelihood)] * whole
                )
    return assays


def _header(tables: Tables) -> list[str]:
    """Columns of all tables, each once; the name of the table takes the place of a column DMS_id."""
    names = dict.fromkeys(name for table in tables if isinstance(table, VariantFile) for name in table.header)
    if len(tables) > 1:
        names.pop(ASSAY, None)
    return list(names)


def _records(job: Job) -> Generator[JobRecord, None, None]:
    yield from job.records()


def _reads_whole_sequences(job: Job) -> bool:
    """Whether some score comes with the pseudo-log-likelihood of its sequence."""
    with closing(_records(job)) as records:
        return any(record.extra.get("protocol", MARGINALS[0]) not in MARGINALS for record in records)


def write_scan(job: Job, source: Path, official: bool, path: Path) -> None:
    """Write scores.csv for proteins: every single substitution of each, position by position."""
    results = Results(job, official)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["id", "mutant", SCORE])
        for protein, record in zip(scanned(source), job.records(), strict=True):
            if record.failed or not isinstance(protein, Record):
                continue
            rows = results.positions(record.units)
            for substitution in saturation(protein.sequence):
                score = marginal(rows, [substitution], [substitution.position - 1])
                lines.writerow([csv_cell(protein.id), str(substitution), _number(score)])


def _scores(
    results: Results, row: VariantRow, record: JobRecord, first: int, official: bool
) -> tuple[float, float]:
    """Score, and pseudo-log-likelihood of the mutated sequence (NaN where the protocol has none)."""
    protocol = record.extra["protocol"]
    if protocol in MARGINALS:
        positions = indices(row.variant, row.wild_type, first)
        return marginal(results.positions(record.units), row.variant, positions), float("nan")
    likelihood = results.pseudo_log_likelihood(row.mutated, protocol)
    # ProteinGym's script leaves the wild type out: the same order, another zero.
    wild_type = 0.0 if official else results.pseudo_log_likelihood(row.wild_type, protocol)
    return likelihood - wild_type, likelihood


def _note(assay: AssayScores, row: VariantRow, score: float) -> None:
    measured = _measurement(row.columns.get(MEASURED, ""))
    if np.isnan(measured):
        assay.unmeasured += 1
        return
    assay.measured.append(measured)
    assay.predicted.append(score)
    assay.binary.append(_measurement(row.columns.get(BINARY, "")))
    assay.depths.append(len(row.variant))
    assay.blosum62.append(np.nan if row.is_indel else blosum62_score(row.variant))


def _measurement(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return np.nan
    return value if np.isfinite(value) else np.nan


def _number(value: float) -> str:
    """Six decimals; no minus before zero."""
    return "" if np.isnan(value) else f"{value + 0.0 if abs(value) >= 5e-7 else 0.0:.6f}"
