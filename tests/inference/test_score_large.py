"""Scores of much: thousands of proteins, and one of 40,000 residues, in memory that does not grow with them."""

import random
import weakref
from pathlib import Path

import pytest
import torch

from chaperonin.inference.jobs import Job
from chaperonin.inference.score import ScoreSettings, forecast, score, score_job
from chaperonin.inference.score_plan import Protocol
from chaperonin.inference.score_survey import Entries, enter_scan
from chaperonin.inference.score_windows import optimal_window
from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM
from chaperonin.protein.alphabet import STANDARD_RESIDUES

LONG = "".join(random.Random(40).choices(STANDARD_RESIDUES, k=40_000))


class Counted:
    """Stands for `Job.result`, and counts how many of the arrays it gave are still held by someone."""

    def __init__(self) -> None:
        self.result = Job.result
        self.given: list[weakref.ref] = []
        self.most = 0

    def __call__(self, job: Job, key: str) -> dict:
        arrays = self.result(job, key)
        self.given += [weakref.ref(array) for array in arrays.values()]
        self.most = max(self.most, sum(given() is not None for given in self.given))
        return arrays


@pytest.mark.parametrize("protocol", ["masked-marginal", "wt-marginal"])
@pytest.mark.parametrize("kind", ["scan", "table"])
def test_results_are_held_for_one_protein_at_a_time(
    model: ESM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol, kind: str
) -> None:
    counted = Counted()
    monkeypatch.setattr(Job, "result", lambda job, key: counted(job, key))
    sequences = ["".join(random.Random(seed).choices(STANDARD_RESIDUES, k=12)) for seed in range(60)]
    scan = [f"p{number},{sequence}" for number, sequence in enumerate(sequences)]
    variants = [f"{s[n]}{n + 1}{other},{s}" for s in sequences for n, other in ((0, "A"), (11, "C"))]
    lines = ["id,sequence", *scan] if kind == "scan" else ["mutant,target_seq", *variants]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    settings = ScoreSettings(protocol=protocol, batch_tokens=60)  # four masked passes in a unit
    outcome = score_job(model, tmp_path / "in.csv", tmp_path / "out", settings)
    assert outcome.done == (60 if kind == "scan" else 120)
    assert len(counted.given) >= 60
    assert counted.most <= 2 * 3 * 3  # three units of three arrays, of a protein and of the next one


def test_a_few_variants_of_a_protein_of_forty_thousand_residues_are_those_of_their_windows(
    model: ESM, tmp_path: Path
) -> None:
    positions = (1, 700, 20_000, 20_900, 39_600, 40_000)
    variants = [f"{LONG[p - 1]}{p}{'W' if LONG[p - 1] != 'W' else 'A'}" for p in positions]
    (tmp_path / "variants.csv").write_text("\n".join(["mutant", *variants, "A40001C"]) + "\n")
    result = score(model, tmp_path / "variants.csv", ScoreSettings(target=LONG))
    expected = []
    for variant, position in zip(variants, positions, strict=True):
        tokens = torch.from_numpy(model.alphabet.encode(LONG))
        tokens[position] = model.alphabet.mask
        start, stop = optimal_window(position, len(tokens))
        with torch.inference_mode():
            hidden = model(tokens[start:stop], Segments([stop - start]))
            row = model.lm_head(hidden)[position - start].log_softmax(-1).numpy()
        expected.append(float(row[model.alphabet.index(variant[-1])] - row[model.alphabet.index(variant[0])]))
    assert [row["score"] for row in result.rows] == pytest.approx(expected, abs=2e-5)
    assert result.outcome.failed == 1


def test_a_masked_scan_of_forty_thousand_residues_is_planned_in_little_room(
    model: ESM, tmp_path: Path
) -> None:
    source = tmp_path / "long.fasta"
    source.write_text(f">long\n{LONG}\n")
    text = forecast(model, source, ScoreSettings())
    assert "1 protein: 40,000 forward passes, 40,960,000 tokens" in text
    with Job.open(tmp_path / "out", {}) as job, job.planning() as plan:
        enter_scan(source, "masked-marginal", Entries(plan))
    assert (tmp_path / "out/job.sqlite").stat().st_size < 30_000_000
