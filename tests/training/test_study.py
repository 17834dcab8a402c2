"""A whole fine-tuning: every kind of label, and a stop anywhere on the way to the model that is kept."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_study
import torch

from chaperonin.tasks.features import in_chunks
from chaperonin.tasks.folder import read_trained
from chaperonin.training.loop import Training
from chaperonin.training.material import read_material
from chaperonin.training.tracking import read_metrics


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    tiny_study.settings(folder)
    return folder


def events(folder: Path) -> list[dict[str, Any]]:
    lines = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


@pytest.mark.parametrize(
    ("kind", "measure", "baseline"),
    [
        ("multiclass", "mcc", "majority"),
        pytest.param("multilabel", "auc", "majority", marks=pytest.mark.slow),
        pytest.param("regression", "rmse", "mean", marks=pytest.mark.slow),
        pytest.param("residue", "mcc", "majority", marks=pytest.mark.slow),
        ("pairs", "auc", "separation"),
    ],
)
def test_every_kind_of_label_is_learned_judged_and_kept(
    inputs: Path, tmp_path: Path, kind: str, measure: str, baseline: str
) -> None:
    options = (*tiny_study.KINDS[kind], "epochs=15", "training.schedule.peak=0.02", "training.patience=0")
    figures = tiny_study.run(inputs, tmp_path, "means.method=lora", *options).figures
    assert json.loads((tmp_path / "metrics.json").read_text())["result"] == figures["result"]
    ours, theirs = (own[measure]["value"] for own in (figures["result"], figures["baselines"][baseline]))
    assert ours < theirs if measure == "rmse" else ours > theirs + 0.1
    own = tiny_study.settings(inputs, *options)
    material = read_material(own.data, own.split, own.task, own.kind)
    trained = read_trained(tmp_path / "model")
    assert trained.target == material.target
    model = trained.backbone()
    with (tmp_path / "predictions.csv").open(newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if row["stage"] == "test"]
    by_id = {example.id: example.sequence for example in material.dataset.examples}
    assert [row["id"] for row in rows] == [
        material.dataset.examples[number].id for number in material.splits[0].test
    ]
    for row in rows[:4]:
        ((_, vectors),) = in_chunks(model, [by_id[row["id"]]], 1000)
        said = trained.prediction(trained.outputs([vectors])[0])
        if kind == "regression":
            assert said.value == pytest.approx(float(row["value"]), abs=1e-4)
        elif kind == "pairs":
            assert said.pairs is not None and said.pairs.shape == (len(by_id[row["id"]]),) * 2
            np.testing.assert_allclose(said.pairs, said.pairs.T, atol=1e-6)
        else:
            assert said.label == row["label"]


@pytest.mark.parametrize(
    ("kind", "method", "measure"),
    [
        ("binary", "lora", "mcc"),
        ("binary", "frozen", "recall/M"),
        pytest.param("multiclass", "frozen", "auc", marks=pytest.mark.slow),
        ("multilabel", "frozen", "f1_micro"),
        ("regression", "frozen", "spearman"),
        pytest.param("regression", "full", "rmse", marks=pytest.mark.slow),
        ("residue", "frozen", "mcc"),
        pytest.param("pairs", "lora", "precision at L/5", marks=pytest.mark.slow),
    ],
)
def test_any_figure_chooses_the_weights_and_the_end(
    inputs: Path, tmp_path: Path, kind: str, method: str, measure: str
) -> None:
    options = [*tiny_study.KINDS[kind], f"means.method={method}", f"training.best={measure}", "epochs=8"]
    found = tiny_study.run(inputs, tmp_path, *options, "training.patience=2", "training.schedule.peak=0.01")
    name = f"held_out_{measure}"
    values = {line["step"]: line[name] for line in events(tmp_path) if line["event"] == "evaluate"}
    sign = 1 if measure == "rmse" else -1
    best = min(values, key=lambda step: sign * values[step])
    assert (found.outcome.best_step, found.outcome.best_value) == (best, values[best])
    # What a temperature changes is neither an order nor an answer.
    assert found.figures["validation"][measure]["value"] == pytest.approx(values[best], abs=1e-5)
    assert found.outcome.step == min(48, best + 2 * 6)


class Killed(BaseException):
    """Stands for a kill: no handler of the program sees it."""


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die inside the step after so many, of all trainings of the study together."""
    step, taken = Training.step, 0

    def counted(training: Training[Any]) -> Any:
        nonlocal taken
        if taken == steps:
            raise Killed
        taken += 1
        return step(training)

    monkeypatch.setattr(Training, "step", counted)


FOLDS = ("split.method=random", "split.folds=2")


@pytest.mark.parametrize(
    ("options", "sweeps", "steps"),
    [
        pytest.param(("means.method=full",), False, 9, id="full", marks=pytest.mark.slow),
        pytest.param(("means.method=lora", "means.base=int8"), False, 9, id="QLoRA"),
        pytest.param(("means.method=frozen",), False, 9, id="frozen"),
        pytest.param(("means.method=lora", *FOLDS), False, 15, id="second fold"),
        pytest.param(
            ("means.method=frozen", "sweep.learning_rates=[1e-3,3e-2]"), True, 17, id="second trial"
        ),
        pytest.param(
            ("means.method=frozen", "sweep.learning_rates=[1e-3,3e-2]", *FOLDS),
            True,
            27,
            id="sweep of folds",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_study_that_was_stopped_goes_on_to_the_last_byte(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    sweeps: bool,
    steps: int,
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    given = (*options, "training.checkpoint_every=2")
    tiny_study.run(inputs, whole, *given, sweeps=sweeps)
    with monkeypatch.context() as patched:
        stop_after(steps, patched)
        with pytest.raises(Killed):
            tiny_study.run(inputs, stopped, *given, sweeps=sweeps)
    assert list(stopped.rglob("step-*.pt")) and not (stopped / "model").exists()
    tiny_study.run(inputs, stopped, *given, sweeps=sweeps)
    logs = [path.relative_to(whole).parent for path in sorted(whole.rglob("metrics.jsonl"))]
    assert logs == [path.relative_to(stopped).parent for path in sorted(stopped.rglob("metrics.jsonl"))]
    assert all(events(stopped / log) == events(whole / log) for log in logs)
    files = {"predictions.csv", "task.json", "sweep.csv"}
    compared = [path for path in whole.rglob("*") if path.name in files or path.suffix == ".safetensors"]
    assert len(compared) > 2
    for path in compared:
        assert (stopped / path.relative_to(whole)).read_bytes() == path.read_bytes(), path
