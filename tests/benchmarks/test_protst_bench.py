"""The benchmark of ProtST itself, on tiny shapes."""

import json
from pathlib import Path

import pytest

from benchmarks import protst
from chaperonin.kernels.hardware import lacks_int8


def test_a_quick_run_compares_both_sides_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--threads", "1", "--out", str(tmp_path / "b.json"), "--scratch", str(tmp_path)]
    assert protst.main(arguments) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert all(f"| {row['measure']} |" in printed for row in rows)
    fp32, int8 = rows
    assert fp32["value"] > 0 and "100% of the choices are the same" in fp32["notes"]
    assert (int8["value"] is None) == bool(lacks_int8())


def test_an_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert protst.main(["--rows", "speed"]) == 1
    assert "no row speed" in capsys.readouterr().err
