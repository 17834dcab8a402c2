"""The benchmark of fine-tuning itself, on tiny shapes."""

import json
from pathlib import Path

import pytest

from benchmarks import finetune


@pytest.mark.parametrize(
    "row",
    [
        "frozen",
        pytest.param("pair-head", marks=pytest.mark.slow),
        pytest.param("accuracy", marks=pytest.mark.slow),
        pytest.param("all-against-base", marks=pytest.mark.slow),
        pytest.param("trainer", marks=pytest.mark.slow),
        pytest.param("memory-prediction", marks=pytest.mark.slow),
    ],
)
def test_a_quick_run_measures_both_sides_and_writes_what_it_prints(
    row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--threads", "1", "--rows", row, "--out", str(tmp_path / "bench.json")]
    assert finetune.main([*arguments, "--scratch", str(tmp_path / "scratch")]) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert rows and all(f"| {found['measure']} |" in printed for found in rows)
    assert all(found["value"] is not None for found in rows)


def test_an_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune.main(["--rows", "speed"]) == 1
    assert "no row speed" in capsys.readouterr().err
