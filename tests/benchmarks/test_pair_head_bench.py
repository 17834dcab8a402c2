"""The benchmark itself: both sides agree inside, or it raises."""

import json
from pathlib import Path

import pytest

from benchmarks import pair_head


@pytest.mark.slow
def test_a_quick_run_compares_both_sides_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    arguments = ["--quick", "--threads", "1", "--rows", "backward", "--out", str(out)]
    assert pair_head.main(arguments) == 0
    printed = capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 2
    for row in rows:
        assert f"| {row['measure']} |" in printed


def test_a_side_that_computes_something_else_is_no_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_head, "ALIKE", -1.0)
    with pytest.raises(AssertionError, match="there is nothing to compare"):
        pair_head.main(["--quick", "--threads", "1", "--rows", "forward", "--out", str(tmp_path / "a.json")])


def test_an_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert pair_head.main(["--rows", "speed"]) == 1
    assert "no row speed" in capsys.readouterr().err
