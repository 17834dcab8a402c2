"""A stopped or finished scoring that is started again: with the same settings, with others, and killed."""

import json
import random
from pathlib import Path

import pytest

import chaperonin.inference.score as verb
from chaperonin.errors import UsageError
from chaperonin.inference.jobs import Job, Outcome
from chaperonin.inference.load import load
from chaperonin.inference.score import ScoreSettings, score_job
from chaperonin.inference.score_compute import log_probabilities
from chaperonin.kernels.linear import lacks_int8
from chaperonin.models.esm import ESM
from chaperonin.protein.alphabet import STANDARD_RESIDUES

SCORED = ("scores.csv", "failures.jsonl")


def random_sequence(length: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(STANDARD_RESIDUES, k=length))


WILD = random_sequence(50)


@pytest.fixture
def proteins(tmp_path: Path) -> Path:
    path = tmp_path / "proteins.csv"
    lines = [f"p{number},{random_sequence(30 + number, number)}" for number in range(20)]
    path.write_text("\n".join(["id,sequence", *lines]) + "\n")
    return path


@pytest.fixture
def assay(tmp_path: Path) -> Path:
    path = tmp_path / "assay.csv"
    generator = random.Random(4)
    changed = [(residue, number) for number, residue in enumerate(WILD, start=1) if residue != "W"]
    lines = [f"{residue}{number}W,{generator.random():.3f}" for residue, number in changed]
    path.write_text("\n".join(["mutant,DMS_score", *lines, "A0A,1"]) + "\n")
    return path


class Stops:
    """Stands for the computation, and stops the process's work at every third batch."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: ESM, units: list) -> list:
        self.calls += 1
        if self.calls % 3 == 0:
            raise KeyboardInterrupt
        return log_probabilities(model, units)


def go_on(model: ESM, source: Path, outdir: Path, settings: list[ScoreSettings]) -> Outcome:
    """Start again and again, each time with the next of the settings, until the job is finished."""
    for attempt in range(30):
        try:
            return score_job(model, source, outdir, settings[attempt % len(settings)])
        except KeyboardInterrupt:
            continue
    raise AssertionError("the job does not end")


@pytest.mark.parametrize("later", [5000, 700, 100_000])
def test_a_stopped_job_gives_the_same_bytes_also_with_other_batches_asked_for(
    model: ESM, proteins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    score_job(model, proteins, tmp_path / "whole", ScoreSettings(batch_tokens=5000))
    stops = Stops()
    monkeypatch.setattr(verb, "log_probabilities", stops)
    go_on(model, proteins, tmp_path / "out", [ScoreSettings(batch_tokens=n) for n in (5000, later)])
    assert stops.calls > 5
    for name in SCORED:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_precision_is_another_job_and_the_one_found_is_the_one_named(
    model_folder: Path, proteins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lacks_int8():
        pytest.skip(lacks_int8())
    by_precision = {name: load(str(model_folder), precision=name, device="cpu") for name in ("fp32", "int8")}
    with monkeypatch.context() as stopped:
        stopped.setattr(verb, "log_probabilities", Stops())
        with pytest.raises(KeyboardInterrupt):
            score_job(by_precision["fp32"], proteins, tmp_path / "out", ScoreSettings(batch_tokens=5000))
    int8 = ScoreSettings(precision="int8", batch_tokens=5000)
    with pytest.raises(UsageError, match='precision was "fp32", now "int8"'):
        score_job(by_precision["int8"], proteins, tmp_path / "out", int8)
    named = ScoreSettings(precision="fp32", batch_tokens=5000)
    assert score_job(by_precision["fp32"], proteins, tmp_path / "out", named).exit_code == 0
    assert score_job(by_precision["int8"], proteins, tmp_path / "out8", int8).exit_code == 0
    assert (tmp_path / "out/scores.csv").read_bytes() != (tmp_path / "out8/scores.csv").read_bytes()


def test_a_finished_job_is_evaluated_without_being_computed_again(
    model: ESM, assay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = ScoreSettings(target=WILD, evaluate=True)
    at_once = score_job(model, assay, tmp_path / "at_once", evaluated)
    score_job(model, assay, tmp_path / "out", ScoreSettings(target=WILD))
    before = (tmp_path / "out/scores.csv").read_bytes()
    monkeypatch.setattr(verb, "log_probabilities", None)
    for _ in range(2):
        assert score_job(model, assay, tmp_path / "out", evaluated) == at_once
        for name in ("scores.csv", "failures.jsonl", "metrics.json", "metrics.csv"):
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "at_once" / name).read_bytes()
    assert (tmp_path / "out/scores.csv").read_bytes() == before
    assert json.loads((tmp_path / "out/run.json").read_text())["config"]["evaluate"] is True
    assert score_job(model, assay, tmp_path / "out", ScoreSettings(target=WILD)) == at_once
    monkeypatch.undo()
    score_job(model, assay, tmp_path / "out", ScoreSettings(target=WILD), overwrite=True)
    assert not (tmp_path / "out/metrics.json").exists() and not (tmp_path / "out/metrics.csv").exists()


def test_a_job_that_is_not_finished_may_be_evaluated_or_not(
    model: ESM, assay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopped:
        stopped.setattr(Job, "finish", lambda job, files: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score_job(model, assay, tmp_path / "out", ScoreSettings(target=WILD))
    monkeypatch.setattr(verb, "log_probabilities", None)
    assert score_job(model, assay, tmp_path / "out", ScoreSettings(target=WILD, evaluate=True)).failed == 1
    assert (tmp_path / "out/metrics.json").exists()
