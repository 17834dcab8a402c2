"""The benchmark of assays itself, on made-up ones."""

import json
from pathlib import Path

import pytest

from benchmarks import proteingym_supervised


def test_a_quick_run_prints_what_it_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--quick", "--threads", "1", "--parts", "frozen", "--scratch", str(tmp_path / "work")]
    assert proteingym_supervised.main([*words, "--out", str(tmp_path / "bench.json")]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "bench.json").read_text())["frozen"]
    assert [row["DMS_id"] for row in found["assays"]] == ["MADE_UP_1", "MADE_UP_2"]
    for row in found["assays"]:
        assert f"| {row['DMS_id']} | 40 | {float(row['Spearman']):.3f} | {float(row['MSE']):.3f} |" in printed
    assert "chaperonin/esm2-tiny, standardised" in printed and not (tmp_path / "work").exists()


def test_the_cheapest_assays_are_known_to_the_reference_file(real_data: Path) -> None:
    chosen = proteingym_supervised.cheapest(real_data)
    reference = (real_data / "dms/reference/DMS_substitutions.csv").read_text(encoding="utf-8")
    assert len({source.name for source in chosen}) == 12
    assert all(f",{source.name}," in reference and source.path.is_file() for source in chosen)
    assert [source.cost for source in chosen] == sorted(source.cost for source in chosen)


def test_an_unknown_part_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert proteingym_supervised.main(["--parts", "speed"]) == 1
    assert "no part speed" in capsys.readouterr().err
