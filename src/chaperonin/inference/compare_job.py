"""Comparing many predicted structures with their references: each pair is one computation of a job that resumes."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chaperonin.data.sources import Rejected
from chaperonin.errors import ChaperoninError, InputError, MemoryLimitError
from chaperonin.inference.compare import Compared, compare_structures
from chaperonin.inference.compare_input import Pair, pair_digest, pairs_digest, structure_pairs
from chaperonin.inference.compare_table import (
    METRICS,
    RESIDUES,
    STRUCTURES,
    ComparedResidues,
    ComparedRow,
    metrics,
    write_metrics,
    write_residues,
    write_structures,
)
from chaperonin.inference.jobs import Job, JobRecord, Outcome
from chaperonin.inference.progress import Progress
from chaperonin.inference.provenance import Provenance
from chaperonin.inference.sequences import refuse_inside
from chaperonin.inference.shards import Arrays
from chaperonin.protein.correspondence import Rule
from chaperonin.protein.lines import display_name
from chaperonin.protein.structure import Structure, read_structure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareSettings:
    """How predicted structures are compared."""

    reference: str = ""
    """File or folder of PDB or mmCIF."""
    residues: Rule = "auto"
    """Residues correspond by `number`, by alignment of the `sequence`, or by what pairs more equal ones."""


def compare_job(source: Path, outdir: Path, settings: CompareSettings, overwrite: bool = False) -> Outcome:
    """Compare every structure of a file or folder with its reference into OUTDIR; resumes after a kill.

    Leaves structures.csv, residues.parquet and structures.json; what cannot be compared is a line in failures.jsonl.
    """
    refuse_inside(outdir, source)
    pairs = structure_pairs(source, Path(settings.reference).expanduser())
    provenance = Provenance("evaluate", settings)
    depends_on = {"verb": "evaluate structures", "input": pairs_digest(pairs), "residues": settings.residues}
    with Job.open(outdir, depends_on, overwrite) as job:
        if job.outcome is not None:
            log.info("%s is complete; use --overwrite to do it again", outdir)
            return job.outcome
        if not job.planned:
            _plan(job, pairs)
        with provenance.stage("compare"):
            _compute(job, pairs, settings)
        with provenance.stage("write"):
            rows, proteins = _results(job, pairs)
            files = [
                write_structures(outdir / STRUCTURES, rows),
                write_residues(outdir / RESIDUES, proteins),
                write_metrics(outdir / METRICS, metrics(rows, proteins)),
            ]
        tally = job.tally()
        counts = {"read": tally.done + tally.failed, "done": tally.done, "failed": tally.failed}
        counts["unique"] = job.totals.units
        files.append(provenance.write(outdir, records=counts, tokens=sum(row.residues for row in rows)))
        return job.finish(files)


def forecast_compare(source: Path, settings: CompareSettings) -> str:
    """What would be compared with what."""
    pairs = structure_pairs(source, Path(settings.reference).expanduser())
    found = [pair for pair in pairs if isinstance(pair, Pair)]
    lines = [f"# {len(found):,} structures with a reference, {len(pairs) - len(found):,} that would fail"]
    lines += [
        f"#   {pair.id}: {display_name(pair.reference)}{f', chain {pair.chain}' if pair.chain else ''}"
        if isinstance(pair, Pair)
        else f"#   would fail: {pair.id}: {pair.error}"
        for pair in pairs[:_MOST_PRINTED]
    ]
    if len(pairs) > _MOST_PRINTED:
        lines.append(f"#   and {len(pairs) - _MOST_PRINTED:,} more")
    return "\n".join(lines)


_MOST_PRINTED = 20
_NUMBERS = ("identity", "length", "residues", "reference_residues")
_SCORES = ("tm_score", "gdt_ts", "gdt_ha", "lddt", "lddt_ca", "rmsd")


def _plan(job: Job, pairs: Sequence[Pair | Rejected]) -> None:
    with job.planning() as plan:
        for pair in pairs:
            if isinstance(pair, Rejected):
                plan.failure(pair.number, pair.id, pair.error)
                continue
            key = pair_digest(pair)
            plan.unit(key, {"number": pair.number}, 1)
            plan.record(pair.number, pair.id, key, {"notes": list(pair.notes)}, display_name(pair.predicted))


def _compute(job: Job, pairs: Sequence[Pair | Rejected], settings: CompareSettings) -> None:
    by_number = {pair.number: pair for pair in pairs if isinstance(pair, Pair)}
    totals, read = job.totals, lru_cache(maxsize=2)(_read)  # one reference may be everybody's
    with Progress().stage(
        "compare", totals.units, done_items=totals.units_finished, noun="structures"
    ) as stage:
        for batch in job.batches(1):
            for unit in batch:
                try:
                    compared = _compare(by_number[unit.payload["number"]], settings, read)
                except ChaperoninError as error:
                    job.fail(unit, error)
                except MemoryError:
                    job.fail(unit, _NO_MEMORY)
                else:
                    job.store([unit], [_arrays(compared)])
                stage.advance(1, 1)


def _compare(pair: Pair, settings: CompareSettings, read: Callable[[Path], Structure]) -> Compared:
    predicted, reference = read(pair.predicted), read(pair.reference)
    try:
        return compare_structures(predicted, reference, settings.residues, pair.chain)
    except InputError as error:
        where = f"{display_name(pair.predicted)} and {display_name(pair.reference)}"
        raise InputError(error.what, where=error.where or where, advice=error.advice) from error


def _read(path: Path) -> Structure:
    try:
        return read_structure(path)
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", where=display_name(path), advice="Check the path."
        ) from error  # fmt: skip


_NO_MEMORY = MemoryLimitError(
    "the comparison needs more memory than there is", advice="Use a machine with more memory, or one chain."
)


def _arrays(compared: Compared) -> dict[str, Any]:
    """What a comparison leaves in a shard."""
    scores = compared.scores
    mean_plddt = np.nan if compared.mean_plddt is None else compared.mean_plddt
    numbers = (
        compared.correspondence.identity,
        compared.length,
        scores.residues,
        scores.reference_residues,
        *(getattr(scores, name) for name in _SCORES),
        compared.clash_score,
        mean_plddt,
    )
    words = (compared.chain, compared.correspondence.rule, compared.reference.sequence)
    return {
        "numbers": np.array(numbers, np.float64),
        "words": np.frombuffer(json.dumps(words).encode(), np.uint8),
        "residue_number": compared.reference.residue_index,
        "plddt": compared.plddt,
        "lddt": compared.lddt,
        "lddt_ca": compared.lddt_ca,
    }


def _results(job: Job, pairs: Sequence[Pair | Rejected]) -> tuple[list[ComparedRow], list[ComparedResidues]]:
    """Rows and residues of the records that have a result, in input order."""
    references = {pair.number: pair.reference for pair in pairs if isinstance(pair, Pair)}
    rows, proteins = [], []
    for record in job.records():
        if not record.failed:
            stored = job.result(record.unit)
            rows.append(_row(record, stored, references[record.number]))
            proteins.append(_residues(record.id, stored))
    return rows, proteins


def _row(record: JobRecord, stored: Arrays, reference: Path) -> ComparedRow:
    names = (*_NUMBERS, *_SCORES, "clash_score", "mean_plddt")
    values: Mapping[str, Any] = dict(zip(names, stored["numbers"].tolist(), strict=True))
    counts = {name: int(values[name]) for name in ("length", "residues", "reference_residues")}
    chain, rule, _ = _words(stored)
    return ComparedRow(
        id=record.id,
        reference=display_name(reference),
        chain=chain,
        matched_by=rule,
        notes="; ".join(record.extra["notes"]),
        **{**values, **counts},
    )


def _residues(id: str, stored: Arrays) -> ComparedResidues:
    columns = {name: stored[name] for name in ("plddt", "lddt", "lddt_ca")}
    return ComparedResidues(id, stored["residue_number"], list(_words(stored)[2]), columns)


def _words(stored: Arrays) -> tuple[str, str, str]:
    """Chain, rule and sequence of the reference."""
    chain, rule, sequence = json.loads(stored["words"].tobytes())
    return chain, rule, sequence
