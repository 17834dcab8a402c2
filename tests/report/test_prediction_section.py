"""The page about predictions: figures agree with scikit-learn, and every kind of table gives a page."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaperonin.report import write_report
from chaperonin.report.finetune_section import curves_section, result_section
from chaperonin.report.prediction_section import prediction_section
from chaperonin.report.prediction_table import read_predictions


def write_rows(folder: Path, header: list[str], rows: list[list[object]]) -> None:
    with (folder / "predictions.csv").open("w", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows([header, *rows])


def classified(folder: Path, classes: tuple[str, ...] = ("S", "M"), number: int = 60) -> None:
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.ones(len(classes)), number)
    truth = [classes[generator.choice(len(classes), p=own)] for own in shares]
    rows = [
        [
            f"p{n}",
            "test" if n % 2 else "train",
            truth[n],
            classes[own.argmax()],
            own.max(),
            "true",
            0.5 + n / 100,
            *own,
        ]
        for n, own in enumerate(shares)
    ]
    names = ["id", "stage", "truth", "label", "probability", "in_domain", "distance"]
    write_rows(folder, names + [f"p_{name}" for name in classes], rows)


def judged(folder: Path, **more: object) -> None:
    value = {"value": 0.91234, "low": 0.88, "high": 0.95}
    content = {
        "target": {"level": "sequence", "kind": "binary", "classes": ["S", "M"]},
        "parts": {"training": 1200, "validation": 130, "test": 30},
        "split": "cluster",
        "leaks": 2,
        "result": {"accuracy": value, "f1/S": value, "support/S": {"value": 10.0}},
        "baselines": {"majority": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}},
        "calibration": {"temperature": 2.0, "ece_before": 0.12, "ece_after": 0.03},
        "cost": {
            "seconds": 61.0,
            "peak_bytes": 2**30,
            "predicted_bytes": 2**30,
            "trainable_parameters": 5,
            "means": "lora",
        },
    }
    (folder / "metrics.json").write_text(json.dumps(content | more))


def test_the_test_part_is_judged_and_errors_are_listed_surest_first(new_job: Callable) -> None:
    job = new_job("train")
    classified(job.path)
    judged(job.path)
    table = read_predictions(job.path, {})
    assert table is not None
    chosen, part = table.judged()
    assert part == "test" and set(chosen.stages) == {"test"} and len(chosen) == 30
    section = prediction_section(job.path)
    assert section is not None
    (errors,) = [part for part in section.parts if getattr(part, "caption", "").startswith("Errors")]
    wrong = [row for row in range(30) if chosen.truth[row] != chosen.labels[row]]
    assert [row[0] for row in errors.rows] == [
        chosen.ids[row] for row in sorted(wrong, key=lambda row: -chosen.probability[row])[:20]
    ]
    assert f"{len(wrong)} errors among 30 proteins" in errors.note
    assert all(row[1] != row[2] for row in errors.rows)


def test_results_stand_beside_baselines_with_their_intervals(new_job: Callable) -> None:
    job = new_job("train")
    judged(job.path)
    section = result_section(job.path)
    assert section is not None
    figures = section.parts[0]
    assert figures.columns == ("figure", "this model", "always the largest class")
    assert figures.rows == [("accuracy", "0.912 (0.880 to 0.950)", "0.500 (0.400 to 0.600)")]
    text = str([part.rows for part in section.parts])
    for expected in ("1,200", "cluster", "0.12", "1 min 01 s", "1.00 GiB (+0%)"):
        assert expected in text


def test_learning_curves_pair_training_and_validation(new_job: Callable) -> None:
    job = new_job("train")
    job.lines(
        "metrics.jsonl",
        [{"step": n, "loss": 1 / n, "held_out_loss": 1.1 / n, "tokens": n} for n in (1, 2, 3)],
    )
    section = curves_section(job.path)
    assert section is not None and len(section.parts) == 1
    assert "training" in section.parts[0].svg and "validation" in section.parts[0].svg


CLASSES = tuple(f"location {n}" for n in range(12))


@pytest.mark.parametrize("form", ["two", "many", "several", "value", "no truth", "empty"])
def test_every_kind_of_table_gives_a_page_that_loads_nothing(form: str, new_job: Callable) -> None:
    job = new_job("evaluate")
    if form == "two":
        classified(job.path)
        judged(job.path)
    elif form == "many":
        classified(job.path, CLASSES, 300)
        judged(job.path, target={"level": "sequence", "kind": "multiclass", "classes": list(CLASSES)})
    elif form == "several":
        rows = [
            [f"p{n}", "A|B" if n % 3 else "C", "A" if n % 2 else "", 0.8, 0.8, 0.3, (n % 7) / 7]
            for n in range(40)
        ]
        write_rows(job.path, ["id", "truth", "label", "probability", "p_A", "p_B", "p_C"], rows)
        judged(job.path, target={"kind": "multilabel"}, calibration={"temperature": [1.0, 2.0, 3.0]})
    elif form == "value":
        write_rows(job.path, ["id", "truth", "value"], [[f"p{n}", n, n * 0.9 + 1] for n in range(30)])
    elif form == "no truth":
        rows = [[f"<p{n}>", "S", 0.7, "false", 1.5, 0.7, 0.3] for n in range(30)]
        write_rows(job.path, ["id", "label", "probability", "in_domain", "distance", "p_S", "p_M"], rows)
    else:
        write_rows(job.path, ["id", "label", "probability", "p_S", "p_M"], [])
    page = write_report(job.path).read_text()
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")
    assert "Variants" not in page and ">nan<" not in page
    expected = {
        "two": (
            "Confusion matrix",
            "ROC curve of M",
            "before calibration",
            "Errors worth reading",
            "Each class",
        ),
        "many": ("Confusion matrix", "ROC curves", "location 11"),
        "several": ("ROC curves", "before calibration", "farthest off"),
        "value": ("equal the truth", "Errors of 30 proteins"),
        "no truth": ("Out of domain, farthest first", "&lt;p0&gt;", "How sure the model is"),
        "empty": (),
    }[form]
    for text in expected:
        assert text in page.replace("<wbr>", ""), text
