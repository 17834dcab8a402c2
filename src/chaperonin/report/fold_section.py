"""The part of the report about predicted structures: who was folded how surely, and the confidence of each."""

import json
from pathlib import Path

import numpy as np

from chaperonin.inference.fold_table import SUMMARY, Row, read_results
from chaperonin.report.blocks import Heading, Illustration, Paragraph, Part, Section, Table
from chaperonin.report.fold_figures import aligned_error_map, confidence_lines
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count

MOST_SHOWN = 12
_MOST_LISTED = 200


def fold_section(outdir: Path) -> Section | None:
    """None where the job folded nothing."""
    rows = read_results(outdir) if (outdir / SUMMARY).is_file() else []
    if not rows:
        return None
    best = sorted(rows, key=lambda row: -row.mean_plddt)
    parts: list[Part] = [_ranking(best)]
    if len(rows) > MOST_SHOWN:
        parts.append(Paragraph(f"Below: the {MOST_SHOWN} most confident of {count(len(rows))} targets."))
    for number, row in enumerate(best[:MOST_SHOWN], start=1):
        parts += _target(number, row, outdir)
    return Section("structures", "Structures", parts, _READING)


def _ranking(rows: list[Row]) -> Table:
    cells = [
        (
            row.id,
            count(row.length),
            count(row.sequences),
            row.best_model,
            f"{row.mean_plddt:.1f}",
            "" if row.ptm is None else f"{row.ptm:.2f}",
            row.notes,
        )
        for row in rows[:_MOST_LISTED]
    ]
    note = (
        f"{_MOST_LISTED} of {count(len(rows))} are listed; {SUMMARY} has all."
        if len(rows) > _MOST_LISTED
        else ""
    )
    columns = ("target", "residues", "sequences", "best model", "pLDDT", "pTM", "notes")
    return Table("Targets, most confident first", columns, cells, frozenset({1, 2, 4, 5}), note, wide=True)


def _target(number: int, row: Row, outdir: Path) -> list[Part]:
    scores = [_read(path) for path in sorted(outdir.glob(f"{row.name}_scores_rank_*.json"))]
    heading = Heading(row.id, f"{count(row.length, 'residue')}, {row.best_model}")
    lines = [np.asarray(own["plddt"], dtype=np.float64) for own in scores if own.get("plddt")]
    if not lines:
        return [heading, Paragraph("Its files are not in this folder any more.")]
    warnings = {str(own["warning"]) for own in scores if own.get("warning")}
    parts: list[Part] = [heading, *(Paragraph(text) for text in sorted(warnings))]
    others = f" Grey: {count(len(lines) - 1, 'lower rank')}." if len(lines) > 1 else ""
    text = f"Confidence of {row.id} along the chain, mean {lines[0].mean():.1f}.{others}"
    parts.append(Illustration(as_svg(confidence_lines(lines), f"plddt-{number}", text), text))
    if scores[0].get("pae"):
        errors = np.asarray(scores[0]["pae"], dtype=np.float64)
        text = f"Predicted aligned error of {row.id}, rank 1: mean {errors.mean():.1f} Å."
        parts.append(Illustration(as_svg(aligned_error_map(errors), f"pae-{number}", text), text))
    return parts


def _read(path: Path) -> dict[str, object]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


_READING = (
    (
        "pLDDT",
        "How well the neighbourhood of a residue is expected to agree with an experiment, from 0 to 100. From 90 side "
        "chains can be trusted, from 70 the backbone; below 50 the chain is probably disordered, or the model does not "
        "know. Targets and ranks are ordered by its mean.",
    ),
    (
        "Predicted aligned error",
        "Row: the residue that is laid on the true structure. Column: how far, in Å, another residue is then expected "
        "to lie from its place. Dark squares along the diagonal are domains; where they are pale towards each other, "
        "their arrangement is not known.",
    ),
    (
        "pTM",
        "The TM-score that the whole structure is expected to have, from 0 to 1; above 0.5 the fold is probably right. "
        "Only the models whose names end in _ptm give it, and aligned errors.",
    ),
)
