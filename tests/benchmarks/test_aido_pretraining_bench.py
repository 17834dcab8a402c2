"""The comparison of a mixture with a dense model, on a few made-up proteins and two steps."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.aido_routing import RESIDUES, information, residue_choices
from scipy.special import xlogy

from benchmarks import aido_pretraining
from chaperonin.models.aido import AIDO, AIDOConfig
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.tasks.masked_language import MaskedLanguage


@pytest.mark.slow
def test_both_sides_are_trained_judged_and_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "sequences").mkdir()
    with gzip.open(tmp_path / "sequences/made.fasta.gz", "wt") as lines:
        for number in range(120):
            lines.write(f">p{number}\n{''.join(generator.choice(list(STANDARD_RESIDUES), 60))}\n")
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--steps", "2", "--rounds", "1"]
    assert aido_pretraining.main([*arguments, "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out/results.json").read_text())
    mixture, dense = found["mixture"], found["dense"]
    assert mixture["tokens"] == dense["tokens"] > 0
    assert f"| held-out perplexity | {mixture['held_out_perplexity']:.2f} | " in printed
    assert f"| of which a token goes through | {mixture['active']:,} | {dense['active']:,} |" in printed
    # Even residues: twenty to choose from, but for the fifth that is shown, of which half is right.
    assert found["frequencies"]["held_out_perplexity"] == pytest.approx(16.69, abs=0.3)
    choices = np.array(mixture["choices"]["layers"])
    assert choices.shape == (4, len(RESIDUES), 8)
    assert len({own.sum() for own in choices}) == 1
    assert (tmp_path / "out/experts.png").stat().st_size > 10_000


def test_choices_are_counted_by_residue() -> None:
    model = AIDO(AIDOConfig(width=16, depth=1, heads=2, inner_width=24, experts=4, experts_per_token=2))
    model.initialise(torch.Generator().manual_seed(0))
    record = ESM_ALPHABET.indices("AAAWX").astype(np.uint8)
    (found,) = residue_choices(model.eval(), [[record]])
    sums = dict(zip(RESIDUES, found.sum(axis=1), strict=True))
    assert sums == {residue: {"A": 6, "W": 2}.get(residue, 0) for residue in RESIDUES}
    assert set(RESIDUES) == set(STANDARD_RESIDUES)


def test_information_is_none_where_choices_are_independent_and_full_where_they_decide() -> None:
    assert information(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-12)
    assert information(np.diag([1, 1, 1, 1])) == pytest.approx(math.log2(4))


def test_the_loss_of_counting_is_the_entropy_that_hiding_leaves() -> None:
    generator, task = np.random.default_rng(0), MaskedLanguage()
    frequencies = generator.dirichlet(np.full(20, 3.0))
    truth = generator.choice(20, 400_000, p=frequencies)
    shown = task.show(task.standard[truth], generator)
    counts = np.zeros((20, len(ESM_ALPHABET)))
    np.add.at(counts, (truth, shown), 1)
    entropy = -(xlogy(counts, counts / counts.sum(axis=0).clip(min=1)).sum()) / counts.sum()
    losses = aido_pretraining.hidden_losses(frequencies)
    assert (frequencies * losses).sum() == pytest.approx(entropy, abs=0.01)
