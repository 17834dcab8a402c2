"""What the supervised benchmark leaves: assays.csv, summary.csv, and predictions/ID.csv of variants not trained on."""

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.assays import Assay
from chaperonin.data.sources import csv_cell
from chaperonin.files import atomic_file
from chaperonin.inference.evaluate import AssayTable, spearman, summarise
from chaperonin.protein.substitution import blosum62_score
from chaperonin.tasks.fitness import MODEL, PREDICTORS, SUBSTITUTION, Method

ASSAYS, SUMMARY, PREDICTIONS = "assays.csv", "summary.csv", "predictions"
METRICS = ("Spearman", "MSE")
LOWER_IS_BETTER = ("MSE",)
SPREAD = "fold_deviation"

Values = NDArray[np.float64]
About = Callable[[str], Mapping[str, str]]
"""Id of an assay → its row of the reference file, empty where there is none."""


@dataclass(frozen=True, eq=False)
class AssayResult:
    """An assay and what was said of its variants by those who had not seen them."""

    assay: Assay
    method: Method
    predictions: Mapping[str, Values]
    """Predictor → one value for each variant, in the unit of the measurement."""
    steps: Sequence[int]
    """Optimizer steps of each fold's model."""


@dataclass(frozen=True)
class Figures:
    """How good predictions are."""

    spearman: float
    """Over the test parts of all folds together."""
    mse: float
    """In variances of what each fold's model could learn from: guessing their mean has about 1."""
    spearman_deviation: float
    """Between the folds."""
    mse_deviation: float


def write_tables(
    outdir: Path, model: str, results: Iterable[AssayResult], about: About, names: Mapping[str, str]
) -> list[Path]:
    """All tables, one assay in memory at a time; returns their paths. `names`: id → name of a file."""
    (outdir / PREDICTIONS).mkdir(exist_ok=True)
    written, rows, found = [], [], {}
    for result in results:
        id = result.assay.id
        found[id] = assay_figures(result)
        rows.append(assay_row(result, found[id]))
        path = outdir / PREDICTIONS / f"{names[id]}.csv"
        _write_rows(path, prediction_rows(result))
        written.append(path)
    _write_rows(outdir / ASSAYS, rows)
    _write_rows(outdir / SUMMARY, summary(model, list(found.values()), [about(id) for id in found]))
    return [outdir / ASSAYS, outdir / SUMMARY, *written]


def assay_figures(result: AssayResult) -> dict[str, Figures]:
    """Figures of each predictor that has predictions."""
    assay = result.assay
    found = {}
    for name in PREDICTORS:
        if name not in result.predictions:
            continue
        said = result.predictions[name]
        errors = _squared_errors(assay, said)
        order = _blosum62(assay) if name == SUBSTITUTION else said
        tests = [assay.folds == fold for fold in range(assay.fold_count)]
        each = [(spearman(assay.values[test], order[test]), float(errors[test].mean())) for test in tests]
        spread = (
            np.nanstd(np.array(each), axis=0) if not np.isnan(each).all(axis=0).any() else (math.nan,) * 2
        )
        found[name] = Figures(spearman(assay.values, order), float(errors.mean()), *map(float, spread))
    return found


def _squared_errors(assay: Assay, said: Values) -> Values:
    """Of each variant, in variances of the folds that are not its own."""
    errors = (assay.values - said) ** 2
    for fold in range(assay.fold_count):
        test = assay.folds == fold
        errors[test] /= assay.values[~test].var()
    return errors


def _blosum62(assay: Assay) -> Values:
    """Sums over the substitutions: they need no training, so one order holds for all folds."""
    assert assay.variants is not None
    return np.array([blosum62_score(variant) for variant in assay.variants], np.float64)


def assay_row(result: AssayResult, found: Mapping[str, Figures]) -> dict[str, str]:
    """The row of assays.csv: the model's figures first, then those of the baselines."""
    assay = result.assay
    row = {
        "DMS_id": assay.id,
        "variants": str(len(assay.values)),
        "indels": str(int(assay.has_indels)),
        "method": result.method,
        "folds": assay.folded_by,
        "steps": ";".join(map(str, result.steps)),
    }
    for name in PREDICTORS:
        row |= _cells("" if name == MODEL else f"{name}_", found.get(name))
    return row | {"notes": "; ".join(assay.notes)}


def _cells(prefix: str, figures: Figures | None) -> dict[str, str]:
    names = ("Spearman", "MSE", f"Spearman_{SPREAD}", f"MSE_{SPREAD}")
    values = (math.nan,) * 4
    if figures is not None:
        values = (figures.spearman, figures.mse, figures.spearman_deviation, figures.mse_deviation)
    return {f"{prefix}{name}": _text(value) for name, value in zip(names, values, strict=True)}


def prediction_rows(result: AssayResult) -> list[dict[str, str]]:
    """One row for each variant, in the order of the file."""
    assay = result.assay
    rows = []
    for number, sequence in enumerate(assay.sequences):
        named = {"mutant": assay.mutants[number]} if any(assay.mutants) else {}
        said = {
            "prediction" if name == MODEL else name: _text(result.predictions[name][number])
            for name in PREDICTORS
            if name in result.predictions
        }
        fold, value = str(assay.folds[number]), repr(float(assay.values[number]))
        rows.append({**named, "mutated_sequence": sequence, "DMS_score": value, "fold": fold, **said})
    return rows


def summary(
    model: str, found: Sequence[Mapping[str, Figures]], rows: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """ProteinGym's averages where the reference file describes every assay, else plain means over assays.

    A row for each metric and predictor, best first. A predictor that is not defined for every assay is averaged over
    those it has; the column `assays` says over how many.
    """
    official = bool(rows) and all(row.get("coarse_selection_type") for row in rows)
    names = {MODEL: model}
    lines = []
    for metric in METRICS:
        values = np.array([[_value(one.get(name), metric) for name in PREDICTORS] for one in found])
        known = (~np.isnan(values)).sum(axis=0) if len(values) else np.zeros(len(PREDICTORS), int)
        table = _table(values, rows)
        ranked = _official(table, metric) if official else _plain(table, metric)
        for line in ranked:
            count = int(known[PREDICTORS.index(line["Model_name"])])
            said = {"metric": metric, **line, "Model_name": names.get(line["Model_name"], line["Model_name"])}
            lines.append(
                {**said, "assays": str(count), "average_over": "selection types" if official else "assays"}
            )
    return lines


def _value(figures: Figures | None, metric: str) -> float:
    if figures is None:
        return math.nan
    return figures.spearman if metric == "Spearman" else figures.mse


def _table(values: Values, rows: Sequence[Mapping[str, str]]) -> AssayTable:
    return AssayTable(
        models=PREDICTORS,
        values=values,
        uniprot=[row.get("UniProt_ID", "") for row in rows],
        selection=[row.get("coarse_selection_type", "") for row in rows],
        msa_depth=[row.get("MSA_Neff_L_category", "").capitalize() for row in rows],
        taxon=[row.get("taxon", "") for row in rows],
    )


def _official(table: AssayTable, metric: str) -> list[dict[str, str]]:
    ranked = summarise(table, metric, lower_is_better=metric in LOWER_IS_BETTER)
    return [{name.removesuffix(f"_{metric}"): _cell(value) for name, value in row.items()} for row in ranked]


def _cell(value: object) -> str:
    return _text(value) if isinstance(value, float) else str(value)


def _plain(table: AssayTable, metric: str) -> list[dict[str, str]]:
    columns = table.rounded().T if len(table.values) else np.empty((len(table.models), 0))
    means = {
        name: float(np.nanmean(column)) if not np.isnan(column).all() else math.nan
        for name, column in zip(table.models, columns, strict=True)
    }
    sign = 1 if metric in LOWER_IS_BETTER else -1
    ranked = sorted(means, key=lambda name: math.inf if math.isnan(means[name]) else sign * means[name])
    return [
        {"Model_rank": str(rank), "Model_name": name, "Average": _text(means[name])}
        for rank, name in enumerate(ranked, start=1)
    ]


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    header = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, header, restval="", lineterminator="\n")
        lines.writeheader()
        lines.writerows({name: csv_cell(cell) for name, cell in row.items()} for row in rows)
