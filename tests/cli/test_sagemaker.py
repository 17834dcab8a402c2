"""The folders of a SageMaker training job, as its documentation describes them."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import tiny_study

from chaperonin.cli.main import main


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job with two channels; its settings are text."""
    root = tmp_path / "ml"
    base = tiny_study.write_base(tmp_path / "base")
    for channel, seed in (("training", 0), ("test", 1)):
        folder = root / "input" / "data" / channel
        folder.mkdir(parents=True)
        tiny_study.write_table(folder / "proteins.csv", rows=40, seed=seed)
    settings = {"model": str(base), "epochs": "2", "means.method": "frozen", "sagemaker_program": "train.py"}
    (root / "input" / "config").mkdir()
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(settings))
    monkeypatch.setenv("CHAPERONIN_SAGEMAKER_ROOT", str(root))
    return root


def change(job: Path, **settings: str) -> None:
    path = job / "input" / "config" / "hyperparameters.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_job_leaves_the_model_and_the_results_where_they_are_looked_for(job: Path):
    change(job, **{"split.validation_share": "0", "training.patience": "0"})
    assert main(["train"]) == 0
    assert (job / "model" / "task.json").is_file()
    assert (job / "model" / "head.safetensors").is_file()
    figures = json.loads((job / "output" / "data" / "metrics.json").read_text())
    assert figures["parts"]["test"] == 40
    assert figures["cost"]["peak_bytes"] > 0 and figures["cost"]["predicted_bytes"] > 0
    assert not (job / "output" / "failure").exists()


def test_failure_is_written_down_and_is_no_success(job: Path):
    change(job, epochs="many")
    assert main(["train"]) == 1
    assert "epochs" in (job / "output" / "failure").read_text()


def test_job_without_a_training_channel_says_so(job: Path):
    (job / "input" / "data" / "training").rename(job / "input" / "data" / "other")
    assert main(["train"]) == 1
    assert "no channel called training" in (job / "output" / "failure").read_text()


def test_no_input_and_no_job_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("CHAPERONIN_SAGEMAKER_ROOT", str(tmp_path))
    assert main(["train"]) == 1
    assert "chaperonin train INPUT OUTDIR" in capsys.readouterr().err
