"""The benchmark of ProtST itself, on tiny shapes."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import protst, protst_evidence, protst_sides
from chaperonin.kernels.linear import lacks_int8


def test_a_quick_run_compares_both_sides_and_writes_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--threads", "1", "--out", str(tmp_path / "b.json"), "--scratch", str(tmp_path)]
    assert protst.main(arguments) == 0
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert all(f"| {row['measure']} |" in printed for row in rows)
    fp32, int8, training, loss = rows
    assert fp32["value"] > 0 and "100% of the choices are the same" in fp32["notes"]
    assert (int8["value"] is None) == bool(lacks_int8())
    assert training["value"] > 0 and "the last of 100 steps" in training["notes"]
    ours, theirs = loss["samples"]["ours"], loss["samples"]["theirs"]
    assert len(ours) == len(theirs) == 9 and len(set(ours)) == 9
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert loss["verdict"] == "reached"


def test_the_loss_curve_of_another_rate_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protst_sides, "RATE", 2 * protst_sides.RATE)  # of their side: ours has its settings
    arguments = ["--quick", "--threads", "1", "--rows", "loss", "--scratch", str(tmp_path)]
    assert protst.main([*arguments, "--out", str(tmp_path / "b.json")]) == 0
    (loss,) = json.loads((tmp_path / "b.json").read_text())["rows"]
    assert loss["samples"]["ours"][0] == pytest.approx(loss["samples"]["theirs"][0], rel=1e-6)
    assert loss["verdict"] == "missed"


def test_an_unknown_row_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert protst.main(["--rows", "speed"]) == 1
    assert "no row speed" in capsys.readouterr().err


@pytest.mark.slow
def test_the_evidence_is_gathered_from_table_to_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")

    def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
        path.parent.mkdir(parents=True)
        with gzip.open(path, "wt") as lines:
            lines.write("\n".join("\t".join(row) for row in (header, *rows)) + "\n")

    located = [
        [f"P{n}", list(protst_evidence.PLACES)[n % 10], str(n % 8), "".join(generator.choice(letters, 40))]
        for n in range(80)
    ]
    write(tmp_path / "localization/deeploc1_train.tsv.gz", ["acc", "location", "fold", "sequence"], located)
    described = [["a name", "FUNCTION: some", row[3]] for row in located[:8]]  # the first one is judged: kin
    write(tmp_path / "text/protein_text_pairs.tsv.gz", ["name", "function", "sequence"], described)
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--steps", "1"]
    assert protst_evidence.main(arguments) == 0
    printed = capsys.readouterr()
    assert "1 of 78 pairs are kin of fold 0" in printed.err
    assert "of 10 proteins of fold 0 | accuracy | MCC |" in printed.out
    assert "always " in printed.out and "text_to_protein_recall@10" in printed.out
