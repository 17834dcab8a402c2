"""The benchmark of a mixture of experts itself, on tiny shapes."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import aido, aido_sides
from chaperonin.kernels.linear import lacks_int8

SIZES = {**aido.TINY, "depth": 2}
LENGTHS = [9, 30, 14, 1]


def test_both_sides_compute_the_same() -> None:
    ours = aido_sides.run_ours(SIZES, LENGTHS)()
    for batch in (1, 3):
        torch.testing.assert_close(aido_sides.run_theirs(SIZES, LENGTHS, batch)(), ours, atol=1e-5, rtol=1e-5)


def test_both_sides_learn_the_same() -> None:
    ours, theirs = aido_sides.train_ours(SIZES, LENGTHS), aido_sides.train_theirs(SIZES, LENGTHS)
    for _ in range(3):
        assert ours() == pytest.approx(theirs(), rel=1e-5)


@pytest.mark.slow
def test_a_quick_run_measures_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--threads", "1", "--out", str(tmp_path / "b.json"), "--scratch", str(tmp_path)]
    assert aido.main(arguments) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert len(rows) == 10 and all(f"| {row['measure']} |" in printed for row in rows)
    assert [row["value"] is None for row in rows].count(True) == bool(lacks_int8())


def test_an_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert aido.main(["--rows", "speed"]) == 1
    assert "no row speed" in capsys.readouterr().err
