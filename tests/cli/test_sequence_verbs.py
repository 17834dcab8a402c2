"""embed and contacts from the command line: exit codes, files, plans."""

import json
from pathlib import Path

import pytest
import torch

from chaperonin.cli.main import main
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.weights.pretrained import save_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    built = ESM(ESMConfig(width=16, depth=2, heads=2, inner_width=32))
    built.initialise(torch.Generator().manual_seed(0))
    save_folder(LAYOUT, built, folder)
    return str(folder)


GOOD, BAD = ">one\nMKTAYIAKQR\n>two\nGATTACA\n", ">broken\nMK*TA\n"


@pytest.mark.parametrize(("content", "code"), [(GOOD, 0), (GOOD + BAD, 3), (BAD, 1)])
@pytest.mark.parametrize("verb", ["embed", "contacts"])
def test_the_exit_code_says_how_much_was_done(
    verb: str, content: str, code: int, model: str, tmp_path: Path
) -> None:
    (tmp_path / "in.fasta").write_text(content)
    out = tmp_path / "out"
    assert main([verb, str(tmp_path / "in.fasta"), str(out), "--model", model]) == code
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [failure["id"] for failure in failures] == (["broken"] if code else [])
    if failures:
        assert list(failures[0]) == ["id", "record", "stage", "error", "where", "advice"]
    assert (out / "report.html").stat().st_size > 1000
    run = json.loads((out / "run.json").read_text())
    assert run["verb"] == verb and run["model"]["name"] == model
    assert main([verb, str(tmp_path / "in.fasta"), str(out), "--model", model]) == code


def test_contacts_come_with_pictures_unless_told_otherwise(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    arguments = ["contacts", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", model]
    assert main([*arguments, "--no-pictures"]) == 0
    assert not list(tmp_path.rglob("*.png")) and len(list(tmp_path.rglob("*.npz"))) == 2
    assert main(arguments) == 0
    assert len(list(tmp_path.rglob("*.png"))) == 2


@pytest.mark.parametrize("verb", ["embed", "contacts"])
def test_a_dry_run_prints_the_plan_and_writes_nothing(
    verb: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD + BAD)
    assert main([verb, str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", model, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert (
        "precision: auto" in printed
        and "2 distinct sequences, 1 records that would fail, 21 tokens" in printed
    )
    assert not (tmp_path / "out").exists()


def test_a_configuration_file_and_pairs_are_heard(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    (tmp_path / "run.yaml").write_text(f"model: {model}\nlevel: protein\nlong: fail\n")
    arguments = [
        "embed",
        str(tmp_path / "in.fasta"),
        str(tmp_path / "out"),
        "--config",
        str(tmp_path / "run.yaml"),
    ]
    assert main([*arguments, "--set", "long=truncate", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "level: protein" in printed and "long: truncate" in printed
    assert main([*arguments, "--set", "lvl=1"]) == 1
    assert "no setting is called lvl" in capsys.readouterr().err
