"""evaluate proteingym-supervised from the command line: a tiny run of both methods, the plan, the report."""

import csv
import json
from pathlib import Path

import pytest

from chaperonin.cli.main import main

WILD = "MKTAYIAKQRQISFVKSHFSRQ"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    lines = ["mutant,mutated_sequence,DMS_score"]
    for place, letter in enumerate(WILD):
        new = "G" if letter == "A" else "A"
        lines.append(f"{letter}{place + 1}{new},{WILD[:place] + new + WILD[place + 1 :]},{(place * 7) % 11}")
    (folder / "ONE.csv").write_text("\n".join(lines) + "\n")
    deleted = [f"{WILD[:n] + WILD[n + 1 + n % 2 :]}\t{n}\t{n % 5}" for n in range(21)]
    (folder / "TWO_indels.tsv").write_text("\n".join(["sequences\tlabels\tfold_id", *deleted]) + "\n")
    (folder / "THREE.csv").write_text("mutated_sequence,DMS_score\nMK,1\n")
    return folder


def test_a_run_leaves_tables_and_a_report(source: Path, tmp_path: Path) -> None:
    words = ["evaluate", "proteingym-supervised", str(source), str(tmp_path / "out")]
    words += ["--set", "recipes.frozen.steps=5", "--set", "recipes.lora.steps=1"]
    assert main(words) == 3
    with (tmp_path / "out/assays.csv").open(newline="") as file:
        rows = {row["DMS_id"]: row for row in csv.DictReader(file)}
    assert {id: row["method"] for id, row in rows.items()} == {"ONE": "lora", "TWO_indels": "frozen"}
    assert rows["ONE"]["steps"] == "1;1;1;1;1" and rows["ONE"]["folds"] == "drawn with seed 0"
    page = (tmp_path / "out/report.html").read_text()
    assert "Supervised benchmark" in page and "TWO_indels" in page
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["config"]["recipes"]["lora"]["rank"] == 16 and run["records"]["read"] == 3
    assert main(words) == 3


def test_a_dry_run_plans_and_writes_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "proteingym-supervised", str(source), str(tmp_path / "out"), "--dry-run"]
    assert main([*words, "--method", "frozen"]) == 0
    printed = capsys.readouterr().out
    assert "ONE: frozen, 22 variants" in printed and "would fail: THREE" in printed
    assert "frozen model: " in printed and "LoRA" not in printed
    assert not (tmp_path / "out").exists()


def test_mistakes_are_said(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verb, out = ["evaluate", "proteingym-supervised"], str(tmp_path / "out")
    for words, said in (
        ([str(tmp_path / "absent"), out], "the input is not there"),
        ([str(source), str(source / "out")], "OUTDIR lies in the input folder"),
        (
            [str(source), out, "--set", "recipes.frozen.epochs=2"],
            "no setting is called recipes.frozen.epochs",
        ),
        ([str(source), out, "--reference", str(source / "ONE.csv")], "has no column DMS_id"),
    ):
        assert main([*verb, *words]) == 1
        assert said in capsys.readouterr().err, words
    assert not Path(out).exists()
