"""Pre-training of a ProtST: it learns, goes on after a stop, and leaves a model that the verbs open."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny_alignment
import torch
from tests.forked import Python

from chaperonin.cli.main import main
from chaperonin.config import resolve
from chaperonin.inference.protst import load_protst
from chaperonin.training import state
from chaperonin.training.alignment import Alignment, _chance, align, new_training, read_pairs
from chaperonin.training.loop import Training
from chaperonin.training.tracking import read_metrics
from chaperonin.weights.files import tensors, weight_files

KINDS = {
    "rich in lysine and charged": "KRDE",
    "a membrane helix without charge": "LIVF",
    "small residues of the matrix": "GASP",
    "aromatic and polar core": "WYHQ",
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proteins whose composition the text tells, and a YAML file for them; the protein model is random."""
    folder = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(3)
    lines = ["id\tsequence\tfunction\tnote"]
    for number in range(160):
        text, letters = list(KINDS.items())[number % 4]
        drawn = generator.choice(list(letters + "ACDEFGHIKLMNPQRSTVWY"), generator.integers(20, 60))
        lines.append(f"p{number}\t{''.join(drawn)}\tFUNCTION: {text}.\t{'seen' if number % 3 else ''}")
    lines.append("silent\tMKTAYIAK\t\t")
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n")
    from tests.training.tiny_study import write_base

    write_base(folder / "base")
    (folder / "protst.yaml").write_text(
        f"""
task: protein-text
model: {folder / "base"}
space: 32
text: {{width: 32, depth: 1, heads: 2, vocabulary: 120}}
data: {{input: {folder / "pairs.tsv"}, columns: [function], batch_pairs: 16, window: 40, holdout_share: 0.2}}
training:
  steps: 60
  precision: fp32
  log_every: 2
  evaluate_every: 20
  checkpoint_every: 4
  best: text_to_protein
  schedule: {{peak: 5.0e-3, warmup_steps: 5}}
"""
    )
    return folder / "protst.yaml"


def test_it_learns_and_leaves_a_model_that_predicts(settings_file: Path, tmp_path: Path) -> None:
    assert (
        main(["train", str(settings_file), str(tmp_path / "out"), "--device", "cpu"]) == 3
    )  # one has no text
    assert '"silent"' in (tmp_path / "out/failures.jsonl").read_text()
    # Its loss is a sum of three kinds: no perplexity follows from it.
    assert "held_out_loss" in (log := (tmp_path / "out/metrics.jsonl").read_text())
    assert "perplexity" not in log
    found = json.loads((tmp_path / "out/retrieval.json").read_text())
    assert found["protein_to_text_recall@1"] > 2 * found["protein_to_text_chance@1"]
    assert found["text_to_protein_recall@1"] > 2 * found["text_to_protein_chance@1"]
    # Classes in words, on proteins that the model has not seen.
    (tmp_path / "prompts.tsv").write_text(
        "label\tprompt\n" + "".join(f"{letters}\tFUNCTION: {text}.\n" for text, letters in KINDS.items())
    )
    (tmp_path / "new.fasta").write_text("".join(f">{own}\n{own * 8}\n" for own in KINDS.values()))
    words = [
        "predict",
        str(tmp_path / "new.fasta"),
        str(tmp_path / "told"),
        "--prompts",
        str(tmp_path / "prompts.tsv"),
    ]
    assert main([*words, "--model", str(tmp_path / "out/model"), "--set", "device=cpu"]) == 0
    rows = [line.split(",") for line in (tmp_path / "told/predictions.csv").read_text().splitlines()[1:]]
    assert sum(row[0] == row[1] for row in rows) >= 3
    assert (tmp_path / "out/report.html").stat().st_size > 10_000


def events(folder: Path) -> list[dict[str, object]]:
    """All that was noted, without the speed, which is the machine's."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


def assert_same_run(folder: Path, expected: Path) -> None:
    ours, theirs = (dict(tensors(weight_files(own / "model"))) for own in (folder, expected))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert events(folder) == events(expected) != []
    assert (folder / "retrieval.json").read_bytes() == (expected / "retrieval.json").read_bytes()


def test_a_run_that_was_stopped_goes_on_to_the_last_bit(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = resolve(Alignment, file=settings_file, overrides=tiny_alignment.SETTINGS)
    pairs = read_pairs(settings)
    align(settings, pairs, tmp_path / "whole", CPU)
    after_step = Training.after_step

    def stops(self: Training, *rest: object) -> None:
        if self.progress.step == 7:
            raise KeyboardInterrupt
        after_step(self, *rest)

    with monkeypatch.context() as stopped:
        stopped.setattr(Training, "after_step", stops)
        with pytest.raises(KeyboardInterrupt):
            align(settings, pairs, tmp_path / "stopped", CPU)
    align(settings, pairs, tmp_path / "stopped", CPU)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_two_processes_of_which_one_is_killed_go_on_to_the_last_bit(
    settings_file: Path, tmp_path: Path
) -> None:
    def run(name: str, number: int, kill: int = 0) -> list[int | None]:
        words = (settings_file, tmp_path / name, tmp_path / f"meeting-{number}")
        started = [Python(tiny_alignment.__file__, rank, *words, kill * rank) for rank in (0, 1)]
        return [process.wait(120) for process in started]

    assert run("whole", 1) == [0, 0]
    first, second = run("stopped", 2, kill=7)
    assert first != 0 and second == -signal.SIGKILL
    assert state.latest(tmp_path / "stopped") == state.checkpoint_path(tmp_path / "stopped", 4)
    assert run("stopped", 3) == [0, 0]
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_the_protein_model_moves_by_its_share_of_the_first_step(settings_file: Path) -> None:
    def steps(share: float) -> dict[str, torch.Tensor]:
        settings = resolve(
            Alignment, file=settings_file, overrides=[f"training.optimizer.backbone_share={share}"]
        )
        training = new_training(settings, read_pairs(settings), CPU)
        before = {name: own.clone() for name, own in state.trained_weights(training.model).items()}
        training.step()
        return {name: own - before[name] for name, own in state.trained_weights(training.model).items()}

    usual, shared = steps(1.0), steps(0.1)
    for name, moved in usual.items():
        if name.startswith("protein."):
            # A step of 1e-3 on weights near 1: what is left of it after rounding, both times.
            torch.testing.assert_close(shared[name], 0.1 * moved, rtol=0, atol=3e-7, msg=name)
        else:
            assert torch.equal(shared[name], moved), name
    assert max(float(own.abs().max()) for own in usual.values()) > 9e-4


def test_chance_is_that_of_drawing_without_putting_back() -> None:
    same = torch.eye(8, dtype=torch.bool)
    assert _chance(same, 1) == pytest.approx(1 / 8) and _chance(same, 10) == 1
    same[0, 1] = same[1, 0] = True
    pairs = 1 - (6 / 8) * (5 / 7)
    assert _chance(same, 2) == pytest.approx((2 * pairs + 6 * 2 / 8) / 8)


def test_what_is_missing_is_said(
    settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(settings_file), str(tmp_path), "--device", "cpu", "--set"]
    assert main([*words, "data.columns=[purpose]"]) == 1
    assert "no column purpose" in capsys.readouterr().err
    assert main([*words, "space=20"]) == 1
    assert "20 channels cannot be shared by 8 heads" in capsys.readouterr().err
    assert main([*words, "data.input=''"]) == 1
    assert "no pairs to learn from" in capsys.readouterr().err
    assert main([*words, "data.batch_pairs=500"]) == 1
    assert "do not fill one batch of 500" in capsys.readouterr().err
    assert main([*words, "training.steps=10", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^pairs +\d+ train, \d+ are held out$", told, re.MULTILINE)
    assert "memory, predicted" in told and "time, at this speed" in told
    assert list(tmp_path.iterdir()) == []
    assert main([*words, "training.optimizer.backbone_share=-1", "--dry-run"]) == 1
    assert "a share cannot be -1" in capsys.readouterr().err


def test_the_model_tells_where_its_vocabulary_is(settings_file: Path, tmp_path: Path) -> None:
    settings = resolve(Alignment, file=settings_file, overrides=["training.steps=1", "data.holdout_share=0"])
    align(settings, read_pairs(settings), tmp_path, CPU)
    model = load_protst(str(tmp_path / "model"), "fp32", "cpu")
    vectors = model.text_vectors(["FUNCTION: small residues", "membrane helix"])
    assert vectors.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
