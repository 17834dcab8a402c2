"""predict and evaluate from the command line: exit codes, files, plans, and models that predict nothing."""

import json
from pathlib import Path

import pytest
import torch

from chaperonin.cli.main import main
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.tasks.calibration import Calibration
from chaperonin.tasks.folder import Base, save_trained
from chaperonin.tasks.heads import build_head
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.target import Target
from chaperonin.weights.pretrained import save_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    model = ESM(ESMConfig(width=16, depth=2, heads=2, inner_width=32))
    model.initialise(torch.Generator().manual_seed(0))
    save_folder(LAYOUT, model, folder / "base")
    target = Target("sequence", "binary", ("S", "M"))
    predictor = Predictor(model, build_head(target, 16), target)
    base = Base.of(str(folder / "base"))
    save_trained(folder / "own", predictor, base, Calibration(), None, method="frozen")
    return str(folder / "own")


GOOD, BAD = ">one\nMKTAYIAKQR\n>two\nGATTACA\n", ">broken\nMK*TA\n"


@pytest.mark.parametrize(("content", "code"), [(GOOD, 0), (GOOD + BAD, 3), (BAD, 1)])
def test_predict_says_by_its_exit_code_how_much_was_done(
    content: str, code: int, trained: str, tmp_path: Path
) -> None:
    (tmp_path / "in.fasta").write_text(content)
    arguments = ["predict", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", trained]
    assert main(arguments) == code
    lines = (tmp_path / "out/predictions.csv").read_text().splitlines()
    assert lines[0] == "id,label,probability,in_domain,distance,p_S,p_M"
    assert [line.split(",")[0] for line in lines[1:]] == ([] if content == BAD else ["one", "two"])
    assert "Predictions" in (tmp_path / "out/report.html").read_text()
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["verb"] == "predict" and run["model"]["name"] == trained
    assert main(arguments) == code


def test_evaluate_writes_metrics_and_a_report(trained: str, tmp_path: Path) -> None:
    rows = [f"p{n},{'MKTAYIAKQR' * (1 + n)},{'SM'[n % 2]}" for n in range(6)]
    (tmp_path / "in.csv").write_text("\n".join(["id,sequence,state", *rows]) + "\n")
    arguments = ["evaluate", str(tmp_path / "in.csv"), str(tmp_path / "out"), "--model", trained]
    assert main([*arguments, "--label-column", "state"]) == 0
    assert "accuracy" in json.loads((tmp_path / "out/metrics.json").read_text())["result"]
    assert "Confusion matrix" in (tmp_path / "out/report.html").read_text()
    assert main([*arguments, "--label-column", "state", "--set", "draws=7"]) == 1  # another job is there


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    arguments = ["predict", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", trained]
    assert main([*arguments, "--dry-run"]) == 0
    assert "2 distinct sequences" in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_a_plain_language_model_predicts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    arguments = ["predict", str(tmp_path / "in.fasta"), str(tmp_path / "out")]
    assert main([*arguments, "--model", "chaperonin/esm2-tiny"]) == 1
    assert "predicts no property" in capsys.readouterr().err
    assert not (tmp_path / "out/predictions.csv").exists()
