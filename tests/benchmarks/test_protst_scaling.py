"""The benchmark of ProtST on several processes, on tiny shapes with gloo."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import protst_scaling


@pytest.mark.slow
def test_two_processes_are_measured_beside_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quick", "--device", "cpu", "--processes", "2", "--steps", "3", "--pairs", "3"]
    assert protst_scaling.main([*words, "--out", str(tmp_path / "scaling.json")]) == 0
    (row,) = json.loads((tmp_path / "scaling.json").read_text())["rows"]
    assert row["samples"]["processes"] == 2
    together, alone = row["samples"]["together"], row["samples"]["alone"]
    for own, pairs in ((together, 6), (alone, 3)):
        seconds = sorted(own["step_seconds"])
        assert len(seconds) == 3
        assert own["pairs"] == pytest.approx(pairs / seconds[1])
        assert own["tokens"] > 12 * own["pairs"]  # made-up proteins have ten residues at least, and two ends
    assert row["value"] == pytest.approx(together["pairs"] / (2 * alone["pairs"]))
    printed = capsys.readouterr().out
    assert f"| 2 | {together['pairs']:,.4g} |" in printed
    assert "Efficiency: pairs/s of N processes / (N × pairs/s of one)" in printed
    assert "3 pairs per process and step; made-up lengths" in printed


def test_efficiency_is_one_where_processes_do_not_disturb_each_other() -> None:
    options = argparse.Namespace(quick=True, pairs=4, steps=1)
    alone, together = (protst_scaling.Speed(10.0 * own, 100.0 * own, [0.4], "") for own in (1, 4))
    row = protst_scaling.as_row(options, 4, alone, together)
    assert row.value == 1
    assert protst_scaling.as_table([row]).splitlines()[-1] == "| 4 | 40 | 400 | 10 | 1.00 |"
