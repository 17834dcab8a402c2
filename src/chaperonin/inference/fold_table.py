"""What a folding job says of its targets: summary.csv, and times.csv, which differs from run to run."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from chaperonin.data.sources import csv_cell
from chaperonin.files import write_atomically

SUMMARY, TIMES = "summary.csv", "times.csv"


@dataclass(frozen=True)
class Row:
    """One target that was folded."""

    id: str
    name: str
    """What its files' names begin with."""
    length: int
    sequences: int
    """Different rows of its alignment, the query among them."""
    best_model: str
    """Tag, model and seed of rank 1, as in the names of its files."""
    mean_plddt: float
    """Of rank 1, from 0 to 100."""
    ptm: float | None
    """Of rank 1; empty for models without it."""
    structure: str
    """File of rank 1, in OUTDIR."""
    notes: str
    """What was changed or left out when it was read."""


@dataclass(frozen=True)
class Timing:
    """One computation."""

    id: str
    tag: str
    model: str
    seed: int
    iterations: int
    """Passes of the network: recycles + 1, or fewer where it stopped early."""
    seconds: float


def write_summary(outdir: Path, rows: Sequence[Row]) -> Path:
    """OUTDIR/summary.csv, one line for each folded target in input order."""
    return _write(outdir / SUMMARY, Row, rows)


def write_times(outdir: Path, times: Sequence[Timing]) -> Path:
    """OUTDIR/times.csv, one line for each computation."""
    return _write(outdir / TIMES, Timing, times)


def read_results(outdir: Path) -> list[Row]:
    """The rows of summary.csv, for a report; the files that belong to one begin with its `name`."""
    with (outdir / SUMMARY).open(newline="", encoding="utf-8") as opened:
        return [
            Row(
                id=_text(cells["id"]),
                name=_text(cells["name"]),
                length=int(cells["length"]),
                sequences=int(cells["sequences"]),
                best_model=_text(cells["best_model"]),
                mean_plddt=float(cells["mean_plddt"]),
                ptm=float(cells["ptm"]) if cells["ptm"] else None,
                structure=_text(cells["structure"]),
                notes=_text(cells["notes"]),
            )
            for cells in csv.DictReader(opened)
        ]


def read_times(outdir: Path) -> list[Timing]:
    """The rows of times.csv."""
    with (outdir / TIMES).open(newline="", encoding="utf-8") as opened:
        return [
            Timing(
                id=_text(cells["id"]),
                tag=_text(cells["tag"]),
                model=_text(cells["model"]),
                seed=int(cells["seed"]),
                iterations=int(cells["iterations"]),
                seconds=float(cells["seconds"]),
            )
            for cells in csv.DictReader(opened)
        ]


def _write(path: Path, kind: type[Row] | type[Timing], rows: Sequence[Row] | Sequence[Timing]) -> Path:
    names = [one.name for one in fields(kind)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    write_atomically(path, text.getvalue())
    return path


def _cell(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else csv_cell(str(value))


def _text(cell: str) -> str:
    """What `csv_cell` made safe, as it was."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) != cell[1:] else cell
