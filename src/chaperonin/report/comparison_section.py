"""The part of the report about structures.csv: predicted structures beside references, and their confidence."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from chaperonin.inference.compare_table import (
    METRICS,
    RESIDUES,
    STRUCTURES,
    ComparedRow,
    agreement,
    read_structures,
)
from chaperonin.report.blocks import Illustration, Paragraph, Part, Section, Table
from chaperonin.report.comparison_figures import accuracy_lines, confidence_and_truth
from chaperonin.report.files import read_mapping
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count, mapping, number

MOST_SHOWN = 12
_MOST_LISTED = 200
_COLUMNS = (
    ("lDDT", "lddt", 3),
    ("lDDT-Cα", "lddt_ca", 3),
    ("TM-score", "tm_score", 3),
    ("GDT-TS", "gdt_ts", 3),
    ("GDT-HA", "gdt_ha", 3),
    ("RMSD, Å", "rmsd", 2),
    ("clashes", "clash_score", 1),
    ("pLDDT", "mean_plddt", 1),
)
_NAMED = ("structure", "reference", "matched by", "residues")


def comparison_section(outdir: Path) -> Section | None:
    """None where no structures were compared."""
    rows = read_structures(outdir / STRUCTURES) if (outdir / STRUCTURES).is_file() else []
    if not rows:
        return None
    best = sorted(rows, key=lambda row: -np.nan_to_num(row.lddt, nan=-1.0))
    parts: list[Part] = [_ranking(best, outdir)]
    residues = _residues(outdir)
    parts += _calibration(residues)
    if len(rows) > MOST_SHOWN:
        parts.append(Paragraph(f"Below: the {MOST_SHOWN} best of {count(len(rows))} structures by lDDT."))
    for place, row in enumerate(best[:MOST_SHOWN], start=1):
        parts.append(_structure(place, row, residues.get(row.id)))
    return Section("comparison", "Structures and references", parts, _READING)


def _ranking(rows: list[ComparedRow], outdir: Path) -> Table:
    cells = []
    if len(rows) > 1:
        mean = mapping(read_mapping(outdir / METRICS), "mean")
        values = [_text(number(mean, name), digits) for _, name, digits in _COLUMNS]
        cells.append((f"mean of {count(len(rows))}", "", "", "", *values))
    for row in rows[:_MOST_LISTED]:
        chain = f", chain {row.chain}" if row.chain.strip() else ""
        compared = f"{row.residues:,} of {row.reference_residues:,}"
        values = [_text(getattr(row, name), digits) for _, name, digits in _COLUMNS]
        cells.append((row.id, f"{row.reference}{chain}", row.matched_by, compared, *values))
    left = f"{_MOST_LISTED} of {count(len(rows))} are listed; " if len(rows) > _MOST_LISTED else ""
    columns = (*_NAMED, *(title for title, _, _ in _COLUMNS))
    numeric = frozenset(range(len(_NAMED) - 1, len(columns)))
    note = f"{left}{STRUCTURES} has all columns, {RESIDUES} every residue."
    return Table("Structures, best first by lDDT", columns, cells, numeric, note, wide=True)


def _calibration(residues: dict[str, dict[str, NDArray[np.float64]]]) -> list[Part]:
    """Whether pLDDT was right, over all residues."""
    if not residues:
        return []
    plddt = np.concatenate([one["plddt"] for one in residues.values()])
    truth = 100 * np.concatenate([one["lddt_ca"] for one in residues.values()])
    found = agreement(plddt, truth)
    if not found["residues"]:
        return [
            Paragraph(
                "The predictions have no pLDDT in their B-factors, so there is nothing to compare it with."
            )
        ]
    known = np.isfinite(plddt) & np.isfinite(truth)
    correlation = "" if found["pearson"] is None else f" correlation {found['pearson']:.2f},"
    caption = (
        f"Confidence and truth of {count(int(found['residues'] or 0), 'residue')}:{correlation} "
        f"mean error of pLDDT {found['mean_error']:+.1f}, mean size of the error {found['mean_absolute_error']:.1f}."
    )
    figure = confidence_and_truth(plddt[known], truth[known])
    return [Illustration(as_svg(figure, "confidence-and-truth", caption), caption)]


def _structure(place: int, row: ComparedRow, residues: dict[str, NDArray[np.float64]] | None) -> Part:
    if residues is None:
        return Paragraph(f"The residues of {row.id} are not in {RESIDUES} any more.")
    scores = f"lDDT {_text(row.lddt, 3)}, TM-score {_text(row.tm_score, 3)}"
    caption = f"{row.id}: {scores}. Truth along the chain, and what was expected."
    figure = accuracy_lines(residues["number"], 100 * residues["lddt_ca"], residues["plddt"])
    return Illustration(as_svg(figure, f"accuracy-{place}", caption), caption)


def _residues(outdir: Path) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Id → columns of its residues; empty where the file is not there."""
    if not (outdir / RESIDUES).is_file():
        return {}
    table = parquet.read_table(outdir / RESIDUES)
    ids = np.array(table["id"].to_pylist(), object)
    columns = {
        name: np.array(table[name].to_numpy(zero_copy_only=False), np.float64)
        for name in ("number", "plddt", "lddt_ca")
    }
    starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])) if len(ids) else np.zeros(0, np.int64)
    ends = np.append(starts[1:], len(ids))
    return {
        str(ids[start]): {name: values[start:end] for name, values in columns.items()}
        for start, end in zip(starts, ends, strict=True)
    }


def _text(value: float | None, digits: int) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


_READING = (
    (
        "lDDT",
        "Share of the distances up to 15 Å between heavy atoms of different residues that the prediction keeps, mean "
        "of 0.5, 1, 2 and 4 Å; without superposition, so that domains may move. lDDT-Cα takes CA atoms alone: times "
        "100 it is what pLDDT expects. Residues that the prediction lacks count as wrong here, in TM-score and in GDT.",
    ),
    (
        "TM-score, GDT",
        "CA atoms after the best superposition, from 0 to 1, as a share of the residues of the reference. TM-score "
        "above 0.5: the same fold. GDT-TS: mean share within 1, 2, 4 and 8 Å; GDT-HA: within 0.5, 1, 2 and 4 Å.",
    ),
    (
        "RMSD",
        "Of the CA atoms that both have, after superposition of all of them: a few residues far off can make it large.",
    ),
    (
        "Clashes",
        "Pairs of heavy atoms of the prediction that overlap by 0.4 Å or more (0.8 Å where a hydrogen bond may be), "
        "per 1,000 atoms. MolProbity adds hydrogens and finds more.",
    ),
    (
        "Matched by",
        "number: residues of equal number; number+7: those of the prediction are higher by 7; sequence: an alignment, "
        "where it pairs more equal residues than numbers do.",
    ),
)
