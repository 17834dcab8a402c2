"""The part of the report about predicted structures: who was folded how surely, and the confidence of each."""

from pathlib import Path

import numpy as np

from chaperonin.inference.fold_store import COVERAGE, read_coverage
from chaperonin.inference.fold_table import SUMMARY, Row, read_results
from chaperonin.report.blocks import Heading, Illustration, Paragraph, Part, Section, Table
from chaperonin.report.fold_figures import aligned_error_map, confidence_lines, coverage_map
from chaperonin.report.fold_scores import read_scores, score_files
from chaperonin.report.structure_view import MOST_DRAWN, structure_part
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
        parts.append(
            Paragraph(
                f"Below: the {MOST_SHOWN} most confident of {count(len(rows))} targets; "
                f"{SUMMARY} names the structures of all."
            )
        )
    files, residues = score_files(outdir), 0
    for number, row in enumerate(best[:MOST_SHOWN], start=1):
        residues += row.length
        parts += _target(number, row, outdir, files.get(row.name, []), residues <= MOST_DRAWN)
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


def _target(number: int, row: Row, outdir: Path, files: list[Path], is_drawn: bool) -> list[Part]:
    scores = read_scores(files)
    heading = Heading(row.id, f"{count(row.length, 'residue')}, {row.best_model}")
    if not scores.plddt:
        return [heading, Paragraph("Its files are not in this folder any more.")]
    parts: list[Part] = [heading]
    if scores.warning:
        parts.append(Paragraph(scores.warning))
    parts.append(structure_part(number, row, outdir, scores.warning, is_drawn))
    lines = scores.plddt
    others = f" Grey: {count(len(lines) - 1, 'lower rank')}." if len(lines) > 1 else ""
    text = f"Confidence of {row.id} along the chain, mean {lines[0].mean():.1f}.{others}"
    parts.append(Illustration(as_svg(confidence_lines(lines), f"plddt-{number}", text), text))
    if scores.aligned_errors:
        errors = scores.aligned_errors[0]
        text = f"Predicted aligned error of {row.id}, rank 1: mean {errors.mean():.1f} Å."
        parts.append(Illustration(as_svg(aligned_error_map(errors), f"pae-{number}", text), text))
    return parts + _alignment(number, row, outdir / f"{row.name}_{COVERAGE}")


def _alignment(number: int, row: Row, path: Path) -> list[Part]:
    """What the alignment covers; nothing where a sequence was folded alone."""
    if not path.is_file():
        return []
    coverage = read_coverage(path)
    shown = len(coverage.identity)
    some = f" {count(shown)} of them, evenly chosen, are drawn." if shown < coverage.sequences else ""
    text = (
        f"Alignment of {row.id}: {count(coverage.sequences, 'sequence')}, "
        f"{count(round(float(np.median(coverage.depth))))} at the median position.{some}"
    )
    return [Illustration(as_svg(coverage_map(coverage), f"coverage-{number}", text), text)]


_READING = (
    (
        "pLDDT",
        "How well the neighbourhood of a residue is expected to agree with an experiment, from 0 to 100. From 90 side "
        "chains can be trusted, from 70 the backbone; below 50 the chain is probably disordered, or the model does not "
        "know. Targets and ranks are ordered by its mean.",
    ),
    (
        "Structure",
        "The backbone of rank 1 in AlphaFold DB's colours of pLDDT. Click it to turn it; the pointer names residues. "
        "The files beside this page have all atoms.",
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
    (
        "Alignment",
        "Each row is a sequence, white where it has a gap, coloured by the share of the query's residues that it has "
        "too, the most similar on top. The line counts the sequences at each residue: where it is below about 30, "
        "the model has little to go by.",
    ),
)
