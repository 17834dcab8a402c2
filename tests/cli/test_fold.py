"""fold from the command line: exit codes, plans, and what it says where there are no parameters."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from tests.inference.tiny_fold import ALIGNMENT, save_models

from chaperonin.cli.main import main
from chaperonin.inference.fold_table import read_results

GOOD, BAD = ">one\nMKTAYIAKQR\n>two\nGATTACA\n", ">broken\nMK*TA\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    return ",".join(save_models(tmp_path_factory.mktemp("models"), 1, 3))


@pytest.fixture
def nothing_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(("content", "code"), [(GOOD, 0), (GOOD + BAD, 3), (BAD, 1)])
def test_the_exit_code_says_how_much_was_done(content: str, code: int, models: str, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(content)
    out = tmp_path / "out"
    words = ["fold", str(tmp_path / "in.fasta"), str(out), "--models", models, "--recycles", "0"]
    assert main(words) == code
    failures = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [failure["id"] for failure in failures] == (["broken"] if code else [])
    assert [row.id for row in read_results(out)] == ([] if code == 1 else ["one", "two"])
    run = json.loads((out / "run.json").read_text())
    assert run["verb"] == "fold" and run["config"]["recycles"] == 0 and run["seed"] == 0
    assert main(words) == code


def test_without_parameters_it_says_what_to_run(
    tmp_path: Path, nothing_pulled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    for words in ([], ["--models", "model_3_ptm"]):
        assert main(["fold", str(tmp_path / "in.fasta"), str(tmp_path / "out"), *words]) == 1
        assert "chaperonin weights pull alphafold2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_models_that_are_on_this_disk_are_taken(
    tmp_path: Path, nothing_pulled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model_2_ptm", "model_4_ptm", "model_5"):
        (folder,) = save_models(tmp_path, 4)
        home = nothing_pulled / f"models--alphafold2--{name}"
        (home / "snapshots").mkdir(parents=True)
        Path(folder).rename(home / "snapshots/2022-12-06")
        (home / "refs").mkdir()
        (home / "refs/main").write_text("2022-12-06")
    (tmp_path / "in.fasta").write_text(GOOD)
    assert main(["fold", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--dry-run"]) == 0
    assert "2 models (alphafold2_ptm model_2, alphafold2_ptm model_4)" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.fasta").write_text(GOOD + BAD)
    (tmp_path / "in/b.a3m").write_text(ALIGNMENT)
    words = ["--models", models, "--seeds", "2", "--recycles", "3", "--dry-run", "--set", "keep=1"]
    assert main(["fold", str(tmp_path / "in"), str(tmp_path / "out"), *words]) == 0
    printed = capsys.readouterr().out
    assert "3 targets, 1 that would fail, 27 residues, 8 aligned sequences" in printed
    assert "× 2 seeds × 4 iterations (recycles + 1): 16 passes of the network for a target, 48" in printed
    assert "would fail: broken" in printed and "keep: 1" in printed
    assert not (tmp_path / "out").exists()


def test_random_weights_need_no_parameters_and_stamp_the_files(models: str, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    words = ["--models", models.split(",")[0], "--random-weights", "--recycles", "0"]
    assert main(["fold", str(tmp_path / "in.fasta"), str(tmp_path / "out"), *words]) == 0
    for row in read_results(tmp_path / "out"):
        assert "random weights" in (tmp_path / "out" / row.structure).read_text()
        assert (tmp_path / "out" / f"{row.name}_plddt.png").is_file()
    assert (tmp_path / "out/report.html").read_text().count('class="stamp">random weights') == 2


def test_mistakes_are_said(models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    source, out = str(tmp_path / "in.fasta"), str(tmp_path / "out")
    for words, said in (
        (["--models", "model_7"], "neither a model of AlphaFold 2 nor a folder"),
        (["--models", models, "--recycles", "-1"], "recycles = -1"),
        (["--models", models, "--set", "recycle=1"], "Did you mean recycles?"),
        (["--models", models, "--templates", str(tmp_path / "absent")], "no such file or folder"),
        (["--models", "chaperonin/esm2-tiny"], "neither a model"),
        (["--models", f"{models},{models.split(',')[0]}"], "two models would write"),
    ):
        assert main(["fold", source, out, *words]) == 1
        assert said in capsys.readouterr().err, words
    assert main(["fold", str(tmp_path), str(tmp_path / "out"), "--models", models]) == 1
    assert "lies in the input folder" in capsys.readouterr().err
    assert not Path(out).exists()


def test_at_most_seven_options_are_its_own() -> None:
    import inspect

    from chaperonin.cli.fold import run

    own = [
        name for name, value in inspect.signature(run).parameters.items() if value.kind == value.KEYWORD_ONLY
    ]
    assert len(own) - 1 <= 7  # without those that every job has
