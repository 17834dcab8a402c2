"""From scores and measurements to metrics.json and metrics.csv, with BLOSUM62 beside the model."""

import csv
import json
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chaperonin.data.sources import csv_cell
from chaperonin.data.tables import read_table
from chaperonin.files import atomic_file, write_atomically
from chaperonin.inference.evaluate import (
    DEPTHS,
    METRICS,
    AssayTable,
    assay_metrics,
    metrics_by_depth,
    summarise,
    uniprot_level,
)
from chaperonin.inference.jobs import Job
from chaperonin.inference.score_input import VariantFile, VariantRow
from chaperonin.inference.score_output import ASSAY, SCORE, scored_rows
from chaperonin.inference.score_wild_types import Tables
from chaperonin.protein.substitution import blosum62_score

BASELINE = "BLOSUM62"
MEASURED, BINARY = "DMS_score", "DMS_score_bin"

Reference = Mapping[str, Mapping[str, str]]
"""Rows of ProteinGym's reference file by DMS_id."""

_ALL, _BY_PROTEIN = "all", "by_protein"
_Found = dict[str, dict[str, dict[str, float]]]
"""Predictor → `all` or a depth → metric → value."""


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


def read_scores(job: Job, tables: Tables, path: Path) -> list[AssayScores]:
    """Scores as they were written to scores.csv, so that a finished job can be evaluated too."""
    assays = {table.name: AssayScores(table.name) for table in tables if isinstance(table, VariantFile)}
    for (table, row, _), line in zip(scored_rows(job, tables), read_table(path).rows, strict=True):
        _note(assays[table.name], row, float(line.columns[SCORE] or "nan"))
    return list(assays.values())


def write_metrics(
    assays: Sequence[AssayScores], model: str, reference: Reference, outdir: Path
) -> tuple[dict[str, Any], list[Path]]:
    """Evaluate, write the tables of metrics, and return the metrics and the paths.

    metrics.json, metrics.csv and, where the averages are ProteinGym's, metrics_by_protein.csv.
    """
    metrics = evaluate_scores(assays, model, reference)
    by_protein = metrics.pop(_BY_PROTEIN, None)
    whole, table = outdir / "metrics.json", outdir / "metrics.csv"
    write_atomically(whole, json.dumps(_without_nan(metrics), indent=2, ensure_ascii=False) + "\n")
    with atomic_file(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([ASSAY, "predictor", "variants", *METRICS])
        for name, row in metrics["assays"].items():
            for predictor, values in ((model, row), (BASELINE, row[BASELINE])):
                cells = ["" if math.isnan(values[metric]) else f"{values[metric]:.6f}" for metric in METRICS]
                lines.writerow([csv_cell(name), predictor, row["variants"], *cells])
    if by_protein is None:
        return metrics, [whole, table]
    return metrics, [whole, table, _write_by_protein(by_protein, outdir / "metrics_by_protein.csv")]


def _write_by_protein(tables: Mapping[str, list[dict[str, Any]]], path: Path) -> Path:
    """ProteinGym's table per protein for each metric; the row without a protein is the average."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, ["metric", *next(iter(tables.values()))[0]], lineterminator="\n")
        lines.writeheader()
        for metric, rows in tables.items():
            for row in rows:
                lines.writerow({"metric": metric} | {name: csv_cell(str(cell)) for name, cell in row.items()})
    return path


def evaluate_scores(
    assays: Sequence[AssayScores], model: str, reference: Reference | None = None
) -> dict[str, Any]:
    """Metrics of each assay and their average, for the model and the baseline; NaN where there is none.

    Where the reference file describes every assay, averages are ProteinGym's (over selection types), and `summary`
    and `by_protein` have its tables; otherwise they are plain means over assays.
    """
    measured = [assay for assay in assays if assay.measured]
    found = {assay.name: _of_assay(assay, model) for assay in measured}
    rows = [(reference or {}).get(assay.name, {}) for assay in measured]
    result: dict[str, Any] = {}
    if rows and all(row.get("coarse_selection_type") for row in rows):
        tables = {metric: _table(metric, list(found.values()), model, rows) for metric in METRICS}
        summaries = {metric: summarise(table, metric) for metric, table in tables.items()}
        averages = {
            predictor: {
                metric: next(row[f"Average_{metric}"] for row in table if row["Model_name"] == predictor)
                for metric, table in summaries.items()
            }
            for predictor in (model, BASELINE)
        }
        result = {"average_over": "selection types", "summary": summaries}
        result[_BY_PROTEIN] = {metric: uniprot_level(table) for metric, table in tables.items()}
    else:
        averages = {predictor: _plain_average(found, predictor) for predictor in (model, BASELINE)}
        result = {"average_over": "assays"}
    return (
        averages[model]
        | {"baselines": {BASELINE: averages[BASELINE]}}
        | {"assays": {assay.name: _row(assay, found[assay.name], model) for assay in measured}}
        | result
    )


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


def _of_assay(assay: AssayScores, model: str) -> _Found:
    measured, depths = np.array(assay.measured), np.array(assay.depths)
    binary = np.array(assay.binary)
    classes = None if np.isnan(binary).any() else (binary > 0.5).astype(np.int64)
    found: _Found = {}
    for predictor, values in ((model, np.array(assay.predicted)), (BASELINE, np.array(assay.blosum62))):
        if np.isnan(values).any():
            found[predictor] = {_ALL: dict.fromkeys(METRICS, math.nan)}
            continue
        found[predictor] = {_ALL: assay_metrics(measured, values, classes)}
        if depths.max() > 1:
            found[predictor] |= metrics_by_depth(measured, values, classes, depths)
    return found


def _row(assay: AssayScores, found: _Found, model: str) -> dict[str, Any]:
    own = {"variants": len(assay.measured), **found[model][_ALL], BASELINE: found[BASELINE][_ALL]}
    return own | ({"without_measurement": assay.unmeasured} if assay.unmeasured else {})


def _plain_average(found: Mapping[str, _Found], predictor: str) -> dict[str, float]:
    averages = {}
    for metric in METRICS:
        values = [assay[predictor][_ALL][metric] for assay in found.values()]
        known = [value for value in values if not math.isnan(value)]
        averages[metric] = math.fsum(known) / len(known) if known else math.nan
    return averages


def _table(metric: str, found: Sequence[_Found], model: str, rows: Sequence[Mapping[str, str]]) -> AssayTable:
    predictors = [model, BASELINE]

    def values(group: str) -> np.ndarray:
        nothing: dict[str, float] = {}
        return np.array(
            [
                [assay[name].get(group, nothing).get(metric, math.nan) for name in predictors]
                for assay in found
            ]
        )

    by_depth = {depth: values(depth) for depth in DEPTHS}
    return AssayTable(
        models=predictors,
        values=values(_ALL),
        uniprot=[row.get("UniProt_ID", "") for row in rows],
        selection=[row["coarse_selection_type"] for row in rows],
        msa_depth=[row.get("MSA_Neff_L_category", "").capitalize() for row in rows],
        taxon=[row.get("taxon", "") for row in rows],
        by_depth={depth: group for depth, group in by_depth.items() if not np.isnan(group).all()},
    )


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
