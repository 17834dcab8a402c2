"""`chaperonin bench finetune` from the command line: the table, the files, the exit codes."""

import json
from pathlib import Path

import pytest
from tests.forked import Python

from chaperonin.cli.main import main
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.training import comparison, trial
from chaperonin.weights.pretrained import save_folder


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """Labelled sequences and the words that name them, a folder and a tiny model."""
    model = ESM(ESMConfig(width=16, depth=2, heads=2, inner_width=32))
    model.initialise()
    save_folder(LAYOUT, model, tmp_path / "base")
    stages = ("train", "train", "train", "val", "test")
    rows = [
        f"p{n},{'AILM' if n % 2 else 'DEKR'}{'ACDEFGHIKL' * (1 + n % 3)},{'SM'[n % 2]},{stages[n // 2 % 5]}"
        for n in range(40)
    ]
    (tmp_path / "in.csv").write_text("\n".join(["id,sequence,label,stage", *rows]) + "\n")
    return [str(tmp_path / "in.csv"), str(tmp_path / "out"), "--model", str(tmp_path / "base")]


def test_it_prints_the_table_and_goes_on_where_it_stopped(
    inputs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forked(arguments: list[str], log: Path) -> None:
        assert Python("-m", "chaperonin.training.trial", *arguments, stdout=log, stderr=log).wait() == 0

    monkeypatch.setattr(comparison, "_start", forked)
    arguments = ["bench", "finetune", *inputs, "--steps", "2", "--rows", "frozen", "--device", "cpu"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:2]] == ["means", "frozen"]
    stored = json.loads((Path(inputs[1]) / "comparison.json").read_text())
    assert [row["trials"][0]["steps"] for row in stored["rows"]] == [2]
    assert (Path(inputs[1]) / "config.yaml").is_file()
    assert main(arguments) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.slow  # seven forecasts and trainings
def test_all_seven_rows_are_trained_and_printed(
    inputs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process one after the other, where the command gives each a process for its memory."""

    def here(arguments: list[str], log: Path) -> None:
        assert trial.main(arguments) == 0

    monkeypatch.setattr(comparison, "_start", here)
    assert main(["bench", "finetune", *inputs, "--steps", "2", "--device", "cpu"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    titles = ["base", "+accumulation", "+checkpointing", "+LoRA", "all", "frozen", "QLoRA"]
    assert [line[0] for line in lines[:8]] == ["means", *titles]
    assert not any("not run" in " ".join(line) for line in lines)
    rows = json.loads((Path(inputs[1]) / "comparison.json").read_text())["rows"]
    trials = {row["title"]: row["trials"][0] for row in rows}
    assert {own["steps"] for own in trials.values()} == {2}
    assert trials["base"]["trainable"] == trials["+accumulation"]["trainable"] > trials["+LoRA"]["trainable"]
    assert trials["all"]["trainable"] == trials["QLoRA"]["trainable"] > trials["frozen"]["trainable"] > 0
    for title in ("+accumulation", "+checkpointing"):
        assert trials[title]["figures"]["auc"] == pytest.approx(trials["base"]["figures"]["auc"], abs=1e-6)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rows", "speed"], "no row is called 'speed'"),
        (["--set", "split.test_share=0", "--set", "split.method=random"], "test part"),
    ],
)
def test_what_cannot_be_compared_says_so(
    inputs: list[str], more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "finetune", *inputs, *more]) == 1
    assert words in capsys.readouterr().err
