"""What a comparison of structures leaves: structures.csv, residues.parquet and structures.json."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from chaperonin.data.sources import csv_cell
from chaperonin.files import atomic_file, write_atomically

STRUCTURES, RESIDUES, METRICS = "structures.csv", "residues.parquet", "structures.json"
SCORES = ("tm_score", "gdt_ts", "gdt_ha", "lddt", "lddt_ca", "rmsd", "clash_score", "mean_plddt")
"""Columns that structures.json averages."""


@dataclass(frozen=True)
class ComparedRow:
    """One line of structures.csv; what has no value is NaN, an empty cell."""

    id: str
    reference: str
    """Name of its file."""
    chain: str
    matched_by: str
    """`number`, `number+7` (the prediction's is the reference's plus 7) or `sequence`."""
    identity: float
    """Share of the compared residues that are of the same kind in both."""
    length: int
    """Residues of the prediction."""
    residues: int
    """Residues compared: both have a CA atom."""
    reference_residues: int
    tm_score: float
    gdt_ts: float
    gdt_ha: float
    lddt: float
    lddt_ca: float
    rmsd: float
    """Å, of CA atoms."""
    clash_score: float
    mean_plddt: float
    notes: str


@dataclass(frozen=True, eq=False)
class ComparedResidues:
    """The residues of one reference, as residues.parquet has them."""

    id: str
    number: NDArray[np.int64]
    residue: Sequence[str]
    columns: Mapping[str, NDArray[np.float64]]
    """plddt from 0 to 100, lddt and lddt_ca from 0 to 1; NaN for none."""


def write_structures(path: Path, rows: Sequence[ComparedRow]) -> Path:
    """One line for each prediction, in input order."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [one.name for one in fields(ComparedRow)]
    table.writerow(names)
    table.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    write_atomically(path, text.getvalue())
    return path


def read_structures(path: Path) -> list[ComparedRow]:
    """The rows that `write_structures` wrote."""
    kinds = {one.name: one.type for one in fields(ComparedRow)}
    with path.open(newline="", encoding="utf-8") as opened:
        return [
            ComparedRow(**{name: _value(cells[name], kinds[name]) for name in kinds})
            for cells in csv.DictReader(opened)
        ]


def write_residues(path: Path, proteins: Sequence[ComparedResidues]) -> Path:
    """One row for each residue of each reference."""
    names = ("plddt", "lddt", "lddt_ca")
    columns: dict[str, Any] = {
        "id": pa.array([one.id for one in proteins for _ in one.number], pa.string()),
        "number": pa.array(_joined([one.number for one in proteins]).astype(np.int64)),
        "residue": pa.array([letter for one in proteins for letter in one.residue], pa.string()),
    }
    for name in names:
        values = _joined([one.columns[name] for one in proteins]).astype(np.float32)
        columns[name] = pa.array(values, from_pandas=True)  # NaN is null
    with atomic_file(path) as temporary:
        parquet.write_table(pa.table(columns), temporary)
    return path


def metrics(rows: Sequence[ComparedRow], proteins: Sequence[ComparedResidues]) -> dict[str, Any]:
    """What structures.json says: means and medians over structures, and how well pLDDT foretells lDDT of residues."""
    summary: dict[str, Any] = {"structures": len(rows), "mean": {}, "median": {}}
    for name in SCORES:
        values = np.array([getattr(row, name) for row in rows], np.float64)
        values = values[np.isfinite(values)]
        summary["mean"][name] = round(float(values.mean()), 4) if len(values) else None
        summary["median"][name] = round(float(np.median(values)), 4) if len(values) else None
    plddt = _joined([one.columns["plddt"] for one in proteins])
    truth = _joined([one.columns["lddt_ca"] for one in proteins]) * 100
    summary["plddt"] = agreement(plddt, truth)
    return summary


def agreement(plddt: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float | int | None]:
    """pLDDT against 100 × lDDT-Cα of residues: how many, Pearson's correlation, mean error and its mean size."""
    known = np.isfinite(plddt) & np.isfinite(truth)
    plddt, truth = plddt[known], truth[known]
    found: dict[str, float | int | None] = {"residues": int(known.sum())}
    varied = len(plddt) > 1 and np.ptp(plddt) > 0 and np.ptp(truth) > 0
    found["pearson"] = round(float(np.corrcoef(plddt, truth)[0, 1]), 4) if varied else None
    found["mean_error"] = round(float((plddt - truth).mean()), 2) if len(plddt) else None
    found["mean_absolute_error"] = round(float(np.abs(plddt - truth).mean()), 2) if len(plddt) else None
    return found


def write_metrics(path: Path, content: Mapping[str, Any]) -> Path:
    """The summary as JSON."""
    write_atomically(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return path


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return csv_cell(value)
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.4f}"


def _value(cell: str, kind: Any) -> Any:
    if kind is str:
        return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) != cell[1:] else cell
    return kind(cell) if cell else math.nan
