"""evaluate from the command line, for structures: exit codes, plans, and which options go together."""

import json
from pathlib import Path

import pytest
from tests.protein.trp_cage import model, write_structure

from chaperonin.cli.main import main


@pytest.mark.parametrize(("names", "code"), [(["a", "b"], 0), (["a", "x"], 3), (["x"], 1)])
def test_the_exit_code_says_how_much_was_done(names: list[str], code: int, tmp_path: Path) -> None:
    for name in names:
        write_structure(tmp_path / f"in/{name}.pdb", model(2))
    for name in "ab":
        write_structure(tmp_path / f"ref/{name}.pdb", model(1))
    words = ["evaluate", str(tmp_path / "in"), str(tmp_path / "out"), "--reference", str(tmp_path / "ref")]
    assert main(words) == code
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"structures.csv", "residues.parquet", "report.html", "run.json", "failures.jsonl"}
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["verb"] == "evaluate" and run["records"]["read"] == len(names)
    assert ("Structures and references" in (tmp_path / "out/report.html").read_text()) == (code != 1)
    assert main(words) == code


def test_a_dry_run_says_who_is_compared_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_structure(tmp_path / "P1.pdb", model(2))
    reference = write_structure(tmp_path / "true.pdb", model(1))
    words = ["evaluate", str(source), str(tmp_path / "out"), "--reference", str(reference), "--dry-run"]
    assert main([*words, "--set", "residues=sequence"]) == 0
    printed = capsys.readouterr().out
    assert "residues: sequence" in printed and "P1: true.pdb" in printed
    assert not (tmp_path / "out").exists()


def test_mistakes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(write_structure(tmp_path / "P1.pdb", model(2)))
    out = str(tmp_path / "out")
    for words, said in (
        ([source, out], "structures are compared with references"),
        ([str(tmp_path), out], "structures are compared with references"),
        ([source, out, "--reference", source, "--model", "m"], "--model is for labelled proteins"),
        ([source, out, "--reference", source, "--label-column", "m"], "--label-column is for labelled"),
        ([source, out, "--reference", source, "--set", "residues=alphabet"], "residues"),
        ([source, out, "--reference", str(tmp_path / "absent")], "the reference is not there"),
    ):
        assert main(["evaluate", *words]) == 1
        assert said in capsys.readouterr().err, words
    assert not Path(out).exists()
