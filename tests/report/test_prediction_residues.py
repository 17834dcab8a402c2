"""The page about residues and pairs: curves come from metrics.json, the rest from predictions.csv."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chaperonin.data.sources import csv_cell
from chaperonin.report import write_report
from chaperonin.report.blocks import Table
from chaperonin.report.prediction_section import prediction_section
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.curves import curves
from chaperonin.tasks.prediction import Output, cells, header, predict_one
from chaperonin.tasks.target import PAIR_CLASSES, Target

TARGETS = {
    "binary": Target("residue", "binary", ("-", "T")),
    "multiclass": Target("residue", "multiclass", ("H", "E", "C")),
    "names": Target("residue", "multiclass", ("helix", "strand", "coil")),
    "regression": Target("residue", "regression", mean=-1.0, deviation=2.0),
    "pairs": Target("pairs", "binary", PAIR_CLASSES),
}
CHART, SCATTER = ("roc", "recall", "reliability"), ("values",)


def write_job(folder: Path, target: Target, labels: Sequence[str], logits: Sequence[np.ndarray]) -> None:
    """predictions.csv and metrics.json as `train` writes them."""
    with (folder / "predictions.csv").open("w", newline="") as opened:
        lines = csv.writer(opened)
        lines.writerow(["id", "stage", "truth", *header(target)])
        for number, (label, own) in enumerate(zip(labels, logits, strict=True)):
            said = predict_one(Output(own, 0.1 * number), target, Calibration())
            lines.writerow([f"p{number}", "test", csv_cell(label), *cells(said, target)])
    truth = [target.encode(label, len(own)) for label, own in zip(labels, logits, strict=True)]
    said = [Calibration().apply(own, target) for own in logits]
    content = {
        "target": target.as_json(),
        "parts": {"test": len(labels)},
        "result": {"auc": {"value": 0.8}},
        "curves": curves(target, truth, said),
    }
    (folder / "metrics.json").write_text(json.dumps(content))


def example(name: str, generator: np.random.Generator, length: int = 30) -> tuple[str, np.ndarray]:
    """A label, and logits that know something of it; the first label is `-` where there is such a class."""
    target = TARGETS[name]
    if name == "pairs":
        is_touching = np.triu(generator.random((length, length)) < 0.1, 1)
        logits = generator.normal(-2, 1, (length, length)) + 3 * is_touching
        return " ".join(
            f"{one + 1}-{two + 1}" for one, two in zip(*np.nonzero(is_touching), strict=True)
        ), logits
    if name == "regression":
        values = generator.normal(-1, 2, length)
        text = " ".join(["nan", *(f"{value:.2f}" for value in values[1:])])
        return text, (values + 1)[:, None] / 2 + generator.normal(0, 0.3, (length, 1))
    numbers = generator.integers(len(target.classes), size=length)
    numbers[0] = 0
    names = [target.classes[number] for number in numbers]
    names[3] = "."
    logits = generator.normal(size=(length, target.outputs))
    logits += numbers[:, None] * 2 - 1 if target.outputs == 1 else 2 * np.eye(target.outputs)[numbers]
    return ("" if max(map(len, target.classes)) == 1 else " ").join(names), logits


@pytest.mark.parametrize("name", TARGETS)
def test_residues_and_pairs_have_their_charts(name: str, new_job: Callable[[str], Any]) -> None:
    generator, job = np.random.default_rng(2), new_job("train")
    labels, logits = zip(*(example(name, generator, 20 + n) for n in range(8)), strict=True)
    write_job(job.path, TARGETS[name], labels, logits)
    page = write_report(job.path).read_text()
    wanted = SCATTER if name == "regression" else CHART
    for chart in {*CHART, *SCATTER}:
        assert (f'id="{chart}' in page) == (chart in wanted), chart
    assert ("Confusion matrix" in page) == (name not in ("regression", "pairs"))
    assert "Proteins worth reading" in page and ">nan<" not in page


def listed(folder: Path) -> list[Sequence[str]]:
    section = prediction_section(folder)
    assert section is not None
    (table,) = [part for part in section.parts if isinstance(part, Table)]
    return [row for row in table.rows]


def test_residues_are_compared_one_by_one_though_the_first_is_coil(new_job: Callable[[str], Any]) -> None:
    job = new_job("train")
    logits = np.array([-1.0, 1, 1, 1, -1])[:, None]
    write_job(job.path, TARGETS["binary"], ["-TTT-", "-TT.T"], [logits, logits])
    assert [row[:3] for row in listed(job.path)] == [("p1", "0.750", "4"), ("p0", "1.000", "5")]


def test_pairs_are_listed_by_what_they_share(new_job: Callable[[str], Any]) -> None:
    job = new_job("train")
    logits = np.full((12, 12), -3.0)
    logits[0, 9] = logits[1, 10] = logits[2, 3] = 3.0
    labels = ["1-10 2-11 5-6", "10-1 3-12 4-11", "1-2"]
    write_job(job.path, TARGETS["pairs"], labels, [logits] * 3)
    # The pairs 3-4, 5-6 and 1-2 are too near to count.
    assert [row[:4] for row in listed(job.path)] == [
        ("p2", "0.000", "0", "2"),
        ("p1", "0.400", "3", "2"),
        ("p0", "1.000", "2", "2"),
    ]


def test_values_of_residues_are_listed_by_their_mean_error(new_job: Callable[[str], Any]) -> None:
    job, target = new_job("train"), Target("residue", "regression")
    logits = np.array([[-1.0], [2.0], [3.0]])
    write_job(job.path, target, ["-1 nan 3", "-1.5 1 4.5"], [logits, logits])
    assert [row[:3] for row in listed(job.path)] == [("p1", "1.000", "3"), ("p0", "0.000", "2")]
