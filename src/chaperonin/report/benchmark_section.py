"""The part of the report about assays.csv: the supervised benchmark of ProteinGym, model beside baselines."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chaperonin.inference.proteingym_table import ASSAYS, PREDICTIONS, SPREAD, SUMMARY
from chaperonin.report.benchmark_figures import beside_baseline
from chaperonin.report.blocks import Illustration, Part, Section, Table
from chaperonin.report.style import as_svg
from chaperonin.report.wording import count
from chaperonin.tasks.fitness import ONE_HOT, SUBSTITUTION

Cells = Mapping[str, str]

_MOST_LISTED = 300
_TITLES = {ONE_HOT: "ridge", SUBSTITUTION: SUBSTITUTION}


def is_benchmark(outdir: Path) -> bool:
    """Whether the folder holds a supervised benchmark."""
    return (outdir / ASSAYS).is_file()


def benchmark_section(outdir: Path) -> Section | None:
    """None where no benchmark was run, or no assay has a result."""
    rows = _read(outdir / ASSAYS)
    if not rows:
        return None
    parts: list[Part] = [_averages(_read(outdir / SUMMARY))]
    both = [row for row in rows if row["Spearman"] and row[f"{ONE_HOT}_Spearman"]]
    if both:
        parts.append(_figure(both))
    parts.append(_assays(rows))
    return Section("benchmark", "Supervised benchmark", parts, _READING)


def _averages(rows: Sequence[Cells]) -> Table:
    cells = [
        (_name(row["Model_name"]), row["metric"], _digits(row["Average"]), row["assays"], row["average_over"])
        for row in rows
    ]
    columns = ("predictor", "metric", "average", "assays", "average over")
    note = f"{SUMMARY} has the averages by selection type, depth of the alignment and taxon where they are known."
    return Table("Averages, best first", columns, cells, frozenset({2, 3}), note, wide=True)


def _figure(rows: Sequence[Cells]) -> Illustration:
    model = np.array([float(row["Spearman"]) for row in rows])
    ridge = np.array([float(row[f"{ONE_HOT}_Spearman"]) for row in rows])
    trained = [row["method"] == "lora" for row in rows]
    better = int((model > ridge).sum())
    caption = (
        f"Spearman of the model and of the ridge regression on residues, each dot an assay: the model is ahead in "
        f"{better} of {count(len(rows))}."
    )
    figure = beside_baseline(ridge, model, trained, [row["DMS_id"] for row in rows])
    return Illustration(as_svg(figure, "model-and-ridge", caption), caption)


def _assays(rows: Sequence[Cells]) -> Table:
    columns = ["assay", "variants", "method", "Spearman", "± folds", "MSE"]
    columns += [f"{title} {metric}" for title in _TITLES.values() for metric in ("Spearman", "MSE")]
    cells = [
        (
            row["DMS_id"],
            count(int(row["variants"])),
            row["method"],
            *(_digits(row[name]) for name in ("Spearman", f"Spearman_{SPREAD}", "MSE")),
            *(_digits(row[f"{name}_{metric}"]) for name in _TITLES for metric in ("Spearman", "MSE")),
        )
        for row in rows[:_MOST_LISTED]
    ]
    left = f"{_MOST_LISTED} of {count(len(rows))} are listed; " if len(rows) > _MOST_LISTED else ""
    note = f"{left}{ASSAYS} has all columns, {PREDICTIONS}/ every variant."
    numeric = frozenset({1, *range(3, len(columns))})
    return Table("Assays", columns, cells, numeric, note, wide=True)


def _name(predictor: str) -> str:
    return f"{_TITLES[predictor]} on residues" if predictor == ONE_HOT else predictor


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _digits(cell: str) -> str:
    value = float(cell or "nan")
    return "" if math.isnan(value) else f"{value:.3f}"


_READING = (
    (
        "Spearman, MSE",
        "Every variant is predicted by a model that was trained without its fold; both figures are over all variants "
        "of an assay together. MSE is in variances of what a fold's model could learn from: guessing the mean has "
        "about 1. ± folds is the standard deviation of the Spearman between the folds.",
    ),
    (
        "Ridge, BLOSUM62",
        "Ridge regression on which residue stands where, by the same folds; BLOSUM62 is the sum over the "
        "substitutions, for its MSE on a line fitted to the other folds. It is not defined for insertions and "
        "deletions: empty.",
    ),
    (
        "frozen, lora",
        "A head of two layers on the vectors of the model as it is, or adapters (LoRA) that are trained with the head.",
    ),
)
