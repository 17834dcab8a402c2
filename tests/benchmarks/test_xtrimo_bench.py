"""The four tasks on real data: their baselines by other means, and a quick run of all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from biotite.sequence.align import SubstitutionMatrix

from benchmarks import xtrimo, xtrimo_baselines
from chaperonin.tasks.target import Target

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def test_distances_are_sums_over_the_matrix() -> None:
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list(LETTERS), 12)) for _ in range(5)]
    score = SubstitutionMatrix.std_protein_matrix().get_score
    expected = [
        [
            sum((score(a, a) + score(b, b)) / 2 - score(a, b) for a, b in zip(one, other, strict=True))
            for other in texts
        ]
        for one in texts
    ]
    np.testing.assert_allclose(xtrimo_baselines.distances(texts, texts), expected, atol=1e-4)


def test_the_commonest_residues_are_the_wild_type() -> None:
    wild = LETTERS * 2
    variants = [wild[:place] + "W" + wild[place + 1 :] for place in range(len(wild))]
    assert xtrimo_baselines.commonest(variants) == wild


@pytest.mark.parametrize("baseline", [xtrimo_baselines.one_hot_ridge, xtrimo_baselines.blosum])
def test_a_baseline_learns_what_the_letters_say(baseline: xtrimo_baselines.Baseline) -> None:
    generator = np.random.default_rng(1)

    def part(count: int) -> xtrimo_baselines.Part:
        texts = ["".join(generator.choice(list("AW"), 15)) for _ in range(count)]
        return xtrimo_baselines.Part(texts, [np.float32(text[:4].count("W")) for text in texts])

    parts = {"train": part(400), "val": part(60), "test": part(60)}
    said = baseline(Target("sequence", "regression"), parts)
    assert np.corrcoef(np.array(said), np.array(parts["test"].truth))[0, 1] > 0.8


@pytest.mark.parametrize(
    ("task", "measure"),
    [
        ("secondary structure", "accuracy"),
        pytest.param("GB1", "spearman", marks=pytest.mark.slow),
        pytest.param("fluorescence", "spearman", marks=pytest.mark.slow),
        pytest.param("localization", "accuracy", marks=pytest.mark.slow),
    ],
)
def test_a_quick_run_judges_each_column_on_the_same_proteins(
    task: str, measure: str, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--threads", "1", "--data", str(real_data), "--out", str(tmp_path)]
    assert xtrimo.main([*arguments, "--tasks", task]) == 0
    assert f"| {task} | {measure} |" in capsys.readouterr().out
    (own,) = json.loads((tmp_path / "xtrimo.json").read_text())["tasks"]
    assert own["measure"] == measure and {"frozen", "one-hot", "BLOSUM"} <= set(own["figures"])
    assert all(figure["low"] <= figure["high"] for figure in own["figures"].values())
