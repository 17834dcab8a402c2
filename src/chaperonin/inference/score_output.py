"""From log-probabilities to scores.csv: one line for each variant that has a score, in the order of the input."""

import csv
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.sources import Record, csv_cell, read_records
from chaperonin.files import atomic_file
from chaperonin.inference.jobs import Job, JobRecord
from chaperonin.inference.score_compute import COLUMN
from chaperonin.inference.score_input import Unreadable, VariantFile, VariantRow
from chaperonin.inference.score_plan import is_plain, keys_of
from chaperonin.inference.score_survey import MARGINALS
from chaperonin.inference.score_wild_types import Tables
from chaperonin.inference.score_windows import window_weights
from chaperonin.inference.shards import Arrays
from chaperonin.protein.variant import Substitution, indices, saturation

SCORE = "score"
PSEUDO_LIKELIHOOD = "pseudo_log_likelihood"
ASSAY = "DMS_id"

Position = NDArray[np.float64]
"""Log-probabilities of the 25 residues at one position."""


class Results:
    """What the job computed, as numbers about variants.

    Only what was read for the protein at hand is kept, as rows of a table share positions and wild types.
    """

    def __init__(self, job: Job, official: bool) -> None:
        self._job = job
        self._weights = window_weights(official)
        self._wild_type = ""
        self._groups: dict[str, Arrays] = {}
        self._likelihood: float | None = None

    def begin(self, wild_type: str) -> None:
        """Turn to the variants of a protein; what was read for another one is let go."""
        if wild_type != self._wild_type:
            self._wild_type = wild_type
            self._groups.clear()
            self._likelihood = None

    def positions(self, keys: Sequence[str], wanted: Sequence[int] | None = None) -> dict[int, Position]:
        """Values at some positions of the protein at hand, or at all that these passes of it have read."""
        for key in keys:
            if key not in self._groups:
                self._groups[key] = self._job.result(key)
        groups = [self._groups[key] for key in keys]
        if len(keys) > 1 and is_plain(keys[0]):
            return self._blend(groups, wanted)
        return {position: values for group in groups for position, values in _values(group, wanted)}

    def pseudo_log_likelihood(self, sequence: str, keys: Sequence[str]) -> float:
        """Sum over positions of log p(own residue), from those of the keys whose passes read the sequence."""
        if sequence != self._wild_type:
            return self._sum(keys_of(sequence, keys))
        if self._likelihood is None:
            self._likelihood = self._sum(keys_of(sequence, keys))
        return self._likelihood

    def _sum(self, keys: Sequence[str]) -> float:
        groups = (self._job.result(key) for key in keys)
        if len(keys) > 1 and is_plain(keys[0]):
            return float(sum(self._blend(groups).values()))
        return float(sum(group["log_probabilities"].sum(dtype=np.float64) for group in groups))

    def _blend(self, groups: Iterable[Arrays], wanted: Sequence[int] | None = None) -> dict[int, Position]:
        """Weighted mean of each position over the windows that see it."""
        sums: dict[int, Position] = {}
        weights: dict[int, float] = {}
        for group in groups:
            start = int(group["start"])
            for position, values in _values(group, wanted):
                weight = self._weights[position + 1 - start]
                sums[position] = sums.get(position, 0.0) + weight * values
                weights[position] = weights.get(position, 0.0) + weight
        return {position: values / weights[position] for position, values in sums.items()}


def _values(group: Arrays, wanted: Sequence[int] | None) -> Iterator[tuple[int, Position]]:
    """Positions of a group with their values; those of the wanted that are in it, or all."""
    positions, values = group["positions"], group["log_probabilities"]
    rows = np.arange(len(positions))
    if wanted is not None:
        rows = np.searchsorted(positions, wanted)
        rows = rows[(rows < len(positions)) & np.isin(wanted, positions)]
    for row in rows.tolist():
        yield int(positions[row]), values[row].astype(np.float64)


def marginal(
    rows: Mapping[int, Position], substitutions: Iterable[Substitution], positions: Iterable[int]
) -> float:
    """Sum over substitutions of log p(new residue) - log p(wild-type residue)."""
    score = 0.0
    for substitution, position in zip(substitutions, positions, strict=True):
        row = rows[position]
        score += row[COLUMN[substitution.mutant]] - row[COLUMN[substitution.wild_type]]
    return float(score)


def write_variants(job: Job, tables: Tables, official: bool, path: Path) -> None:
    """Write scores.csv for tables: their columns, then the score."""
    results = Results(job, official)
    header = _header(tables)
    several, whole = len(tables) > 1, _reads_whole_sequences(job)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([ASSAY] * several + _renamed(header) + [SCORE] + [PSEUDO_LIKELIHOOD] * whole)
        for table, row, record in scored_rows(job, tables):
            score, likelihood = _scores(results, row, record, table.first, official)
            cells = [csv_cell(row.columns.get(name, "")) for name in header]
            lines.writerow(
                [csv_cell(table.name)] * several + cells + [_number(score)] + [_number(likelihood)] * whole
            )


def scored_rows(job: Job, tables: Tables) -> Iterator[tuple[VariantFile, VariantRow, JobRecord]]:
    """Rows that have a score, each with its record, in the order of the lines of scores.csv."""
    with closing(_records(job)) as records:
        for table in tables:
            if isinstance(table, Unreadable):
                next(records)
                continue
            for row in table.rows():
                record = next(records)
                if not record.failed:
                    yield table, row, record


def _header(tables: Tables) -> list[str]:
    """Columns of all tables, each once; the name of the table takes the place of a column DMS_id."""
    names = dict.fromkeys(name for table in tables if isinstance(table, VariantFile) for name in table.header)
    if len(tables) > 1:
        names.pop(ASSAY, None)
    return list(names)


def _renamed(header: Sequence[str]) -> list[str]:
    """Columns of the input beside our own: those of the same name get another one."""
    taken = {*header, SCORE, PSEUDO_LIKELIHOOD}
    names = []
    for name in header:
        if name in (SCORE, PSEUDO_LIKELIHOOD):
            while name in taken:
                name = f"input_{name}"
            taken.add(name)
        names.append(name)
    return names


def _records(job: Job) -> Generator[JobRecord, None, None]:
    yield from job.records()


def _reads_whole_sequences(job: Job) -> bool:
    """Whether some score comes with the pseudo-log-likelihood of its sequence."""
    with closing(_records(job)) as records:
        return any(record.extra.get("protocol", MARGINALS[0]) not in MARGINALS for record in records)


def write_scan(job: Job, source: Path, official: bool, path: Path, unknown: str | None = None) -> None:
    """Write scores.csv for proteins: every single substitution of each, position by position.

    `unknown` is what the proteins were read with when they were entered.
    """
    results = Results(job, official)
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["id", "mutant", SCORE])
        for protein, record in zip(read_records(source, unknown), job.records(), strict=True):
            if record.failed or not isinstance(protein, Record):
                continue
            results.begin(protein.sequence)
            rows = results.positions(record.units)
            for substitution in saturation(protein.sequence):
                score = marginal(rows, [substitution], [substitution.position - 1])
                lines.writerow([csv_cell(protein.id), str(substitution), _number(score)])


def _scores(
    results: Results, row: VariantRow, record: JobRecord, first: int, official: bool
) -> tuple[float, float]:
    """Score, and pseudo-log-likelihood of the mutated sequence (NaN where the protocol has none)."""
    results.begin(row.wild_type)
    if record.extra["protocol"] in MARGINALS:
        positions = indices(row.variant, row.wild_type, first)
        return marginal(results.positions(record.units, positions), row.variant, positions), float("nan")
    likelihood = results.pseudo_log_likelihood(row.mutated, record.units)
    # ProteinGym's script leaves the wild type out: the same order, another zero.
    wild_type = 0.0 if official else results.pseudo_log_likelihood(row.wild_type, record.units)
    return likelihood - wild_type, likelihood


def _number(value: float) -> str:
    """Six decimals; no minus before zero."""
    return "" if np.isnan(value) else f"{value + 0.0 if abs(value) >= 5e-7 else 0.0:.6f}"
