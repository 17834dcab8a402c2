"""From scores and measurements to metrics.json and metrics.csv, with BLOSUM62 beside the model."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chaperonin.files import atomic_file, write_atomically
from chaperonin.inference.evaluate import (
    DEPTHS,
    METRICS,
    AssayTable,
    assay_metrics,
    metrics_by_depth,
    summarise,
)
from chaperonin.inference.score_output import ASSAY, AssayScores

BASELINE = "BLOSUM62"

Reference = Mapping[str, Mapping[str, str]]
"""Rows of ProteinGym's reference file by DMS_id."""

_ALL = "all"
_Found = dict[str, dict[str, dict[str, float]]]
"""Predictor → `all` or a depth → metric → value."""


def write_metrics(
    assays: Sequence[AssayScores], model: str, reference: Reference, outdir: Path
) -> tuple[dict[str, Any], list[Path]]:
    """Evaluate, write metrics.json and metrics.csv, and return the metrics and both paths."""
    metrics = evaluate_scores(assays, model, reference)
    whole, table = outdir / "metrics.json", outdir / "metrics.csv"
    write_atomically(whole, json.dumps(_without_nan(metrics), indent=2, ensure_ascii=False) + "\n")
    with atomic_file(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([ASSAY, "predictor", "variants", *METRICS])
        for name, row in metrics["assays"].items():
            for predictor, values in ((model, row), (BASELINE, row[BASELINE])):
                cells = ["" if math.isnan(values[metric]) else f"{values[metric]:.6f}" for metric in METRICS]
                lines.writerow([name, predictor, row["variants"], *cells])
    return metrics, [whole, table]


def evaluate_scores(
    assays: Sequence[AssayScores], model: str, reference: Reference | None = None
) -> dict[str, Any]:
    """Metrics of each assay and their average, for the model and the baseline; NaN where there is none.

    Where the reference file describes every assay, averages are ProteinGym's (over selection types) and `summary`
    has its tables; otherwise they are plain means over assays.
    """
    measured = [assay for assay in assays if assay.measured]
    found = {assay.name: _of_assay(assay, model) for assay in measured}
    rows = [(reference or {}).get(assay.name, {}) for assay in measured]
    result: dict[str, Any] = {}
    if rows and all(row.get("coarse_selection_type") for row in rows):
        summaries = {metric: _summary(metric, list(found.values()), model, rows) for metric in METRICS}
        averages = {
            predictor: {
                metric: next(row[f"Average_{metric}"] for row in table if row["Model_name"] == predictor)
                for metric, table in summaries.items()
            }
            for predictor in (model, BASELINE)
        }
        result = {"average_over": "selection types", "summary": summaries}
    else:
        averages = {predictor: _plain_average(found, predictor) for predictor in (model, BASELINE)}
        result = {"average_over": "assays"}
    return (
        averages[model]
        | {"baselines": {BASELINE: averages[BASELINE]}}
        | {"assays": {assay.name: _row(assay, found[assay.name], model) for assay in measured}}
        | result
    )


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


def _summary(
    metric: str, found: Sequence[_Found], model: str, rows: Sequence[Mapping[str, str]]
) -> list[dict[str, Any]]:
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
    table = AssayTable(
        models=predictors,
        values=values(_ALL),
        uniprot=[row.get("UniProt_ID", "") for row in rows],
        selection=[row["coarse_selection_type"] for row in rows],
        msa_depth=[row.get("MSA_Neff_L_category", "").capitalize() for row in rows],
        taxon=[row.get("taxon", "") for row in rows],
        by_depth={depth: group for depth, group in by_depth.items() if not np.isnan(group).all()},
    )
    return summarise(table, metric)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
