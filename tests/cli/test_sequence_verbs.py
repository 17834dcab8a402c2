"""embed and contacts from the command line: exit codes, files, plans."""

import json
import os
import re
import subprocess
import sys
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


SECTIONS = {
    "embed": (["embeddings", "lengths", "failures"], ["Scatter plot: 3 proteins", "Histogram: Lengths of 3"]),
    "contacts": (["contacts", "lengths", "failures"], ["Contact map of one, 10", "Contact map of two, 7"]),
    "score": (["scores", "lengths", "failures"], ["Heat map of one, positions", "Histogram: Scores of 190"]),
}
"""Verb → sections that its report begins with, and how pictures in it are described."""


@pytest.mark.parametrize("verb", SECTIONS)
def test_the_report_of_a_job_has_its_sections_and_pictures(verb: str, model: str, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(GOOD + ">three\nMSKGEELFTG\n" + BAD)
    assert main([verb, str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", model]) == 3
    page = (tmp_path / "out/report.html").read_text()
    sections, pictures = SECTIONS[verb]
    assert re.findall(r'<section id="([^"]+)"', page) == [*sections, "reading", "provenance"]
    described = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', page)
    for beginning in pictures:
        assert any(text.startswith(beginning) for text in described), described
    assert "broken" in page and model in page


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
    assert verb != "embed" or "results of 0.0 MB" in printed


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


def test_a_job_is_the_same_whether_its_precision_was_named_or_found(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    arguments = ["embed", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", model]
    assert main([*arguments, "--set", "device=cpu"]) == 0
    assert main([*arguments, "--precision", "fp32"]) == 0


@pytest.mark.parametrize("verb", ["embed", "score"])
def test_an_outdir_inside_the_input_folder_is_refused(
    verb: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    assert main([verb, str(tmp_path), str(tmp_path / "out"), "--model", model]) == 1
    assert "lies in the input folder" in capsys.readouterr().err


def test_a_file_name_of_any_bytes_is_no_obstacle(model: str, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"in\xff.fasta")
    source.write_text(GOOD)
    assert main(["embed", str(source), str(tmp_path / "out"), "--model", model]) == 0


def test_an_emptied_result_is_made_again(model: str, tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    arguments = ["embed", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", model]
    assert main(arguments) == 0
    before = (tmp_path / "out/embeddings.h5").read_bytes()
    (tmp_path / "out/embeddings.h5").write_bytes(b"")
    assert main(arguments) == 0
    assert (tmp_path / "out/embeddings.h5").read_bytes() == before


def test_overwriting_leaves_nothing_of_the_job_before(model: str, tmp_path: Path) -> None:
    for name, content in (("first", GOOD), ("second", ">other\nMKTAYIAKQR\n")):
        (tmp_path / f"{name}.fasta").write_text(content)
        arguments = ["contacts", str(tmp_path / f"{name}.fasta"), str(tmp_path / "out"), "--model", model]
        assert main([*arguments, "--overwrite"]) == 0
    assert {path.name.split(".")[0].split("-")[0] for path in (tmp_path / "out/contacts").iterdir()} == {
        "other"
    }


def test_a_protein_whose_map_cannot_fit_fails_alone(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD + f">giant\n{'A' * 2000}\n")
    monkeypatch.setattr("chaperonin.inference.sequences.free_bytes", lambda device: 10_000_000)
    assert main(["contacts", str(tmp_path / "in.fasta"), str(tmp_path / "out"), "--model", model]) == 3
    (failure,) = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert failure["id"] == "giant" and "2,000 residues need 0.1 GB" in failure["error"]


def test_an_outdir_that_cannot_be_made_is_said(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.fasta").write_text(GOOD)
    for outdir in (str(tmp_path / ("a" * 300)), "/proc/out"):
        assert main(["embed", str(tmp_path / "in.fasta"), outdir, "--model", model]) == 1
        assert "cannot be" in capsys.readouterr().err


def test_a_reader_of_stdout_that_leaves_early_is_no_error_of_ours() -> None:
    code = "import sys; from chaperonin.cli.main import main; sys.exit(main(['doctor']))"
    run = subprocess.run(f'{sys.executable} -c "{code}" | true', shell=True, capture_output=True, text=True)
    assert "Traceback" not in run.stderr and "Error" not in run.stderr
