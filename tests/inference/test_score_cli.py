"""`chaperonin score` from the shell: files, streams and exit codes."""

import csv
from pathlib import Path

import pytest

from chaperonin.cli.main import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TARGET = ["--target", str(EXAMPLES / "blat_ecolx.fasta")]


def test_the_example_table_is_scored_and_reported(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = EXAMPLES / "variants.csv"
    code = main(["score", str(table), str(tmp_path / "out"), *TARGET, "--model", str(model_folder)])
    assert code == 0
    with table.open() as given, (tmp_path / "out/scores.csv").open() as written:
        expected = list(csv.DictReader(given))
        found = list(csv.DictReader(written))
    assert [{**row, "score": "kept"} for row in expected] == [{**row, "score": "kept"} for row in found]
    assert (tmp_path / "out/report.html").exists()
    output = capsys.readouterr()
    assert output.out == "" and f"{len(expected)} done" in output.err


def test_some_failures_are_code_three_and_nothing_but_failures_is_code_one(
    model_folder: Path, tmp_path: Path
) -> None:
    for number, (lines, code) in enumerate(((["M1A", "A1M"], 3), (["A1M"], 1))):
        path = tmp_path / f"{number}.csv"
        path.write_text("\n".join(["mutant", *lines]) + "\n")
        words = ["score", str(path), str(tmp_path / f"out{number}"), *TARGET, "--model", str(model_folder)]
        assert main(words) == code


def test_a_dry_run_prints_settings_and_cost_and_leaves_nothing(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(EXAMPLES / "blat_ecolx.fasta"), str(tmp_path / "out"), "--protocol", "wt-marginal"]
    assert main([*words, "--model", str(model_folder), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "protocol: wt-marginal" in printed and "1 protein: 1 forward passes, 288 tokens" in printed
    assert not (tmp_path / "out").exists()


def test_usage_errors_are_code_one_and_name_what_to_do(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "variants.csv"
    path.write_text("mutant\nM1A\n")
    assert main(["score", str(path), str(tmp_path / "out"), "--model", str(model_folder)]) == 1
    assert "the wild type is not known. Name it with --target" in capsys.readouterr().err
