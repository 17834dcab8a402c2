import json
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch

from chaperonin.cli.main import main
from chaperonin.config import resolve
from chaperonin.errors import UsageError
from chaperonin.models.esm.weights import LAYOUT
from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES
from chaperonin.training.forecast import forecast
from chaperonin.training.pretrain import Pretraining, evaluation_batches, new_model, pretrain, read_corpus
from chaperonin.weights.pretrained import load_folder

REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def proteins(tmp_path: Path) -> Path:
    """Sixty random proteins in two FASTA files, and a record that is none."""
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list(STANDARD_RESIDUES), length)) for length in range(20, 80)]
    folder = tmp_path / "proteins"
    folder.mkdir()
    for name, own in (("a", texts[:30]), ("b", texts[30:])):
        lines = [f">{name}{number}\n{text}\n" for number, text in enumerate(own)]
        (folder / f"{name}.fasta").write_text("".join(lines))
    with (folder / "b.fasta").open("a") as lines:
        lines.write(">broken\nMK*TA\n")
    return folder


@pytest.fixture
def config(tmp_path: Path, proteins: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"model: {{width: 16, depth: 1, heads: 2, inner_width: 32}}\n"
        f"data: {{input: '{proteins}/*.fasta', window: 30, batch_tokens: 128, holdout_share: 0.1}}\n"
        f"training: {{steps: 6, precision: fp32, evaluate_every: 3, log_every: 2, schedule: {{warmup_steps: 2}}}}\n"
    )
    return path


def test_what_is_saved_is_what_was_trained(tmp_path: Path):
    settings = tiny_run.with_training(steps=4, evaluate_every=2)
    pretrain(settings, tiny_run.corpus(), tmp_path, CPU)
    model = load_folder(LAYOUT, tmp_path / "model")
    best = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)["model"]
    trained = {name: tensor for name, tensor in best.items() if not name.startswith("contact")}
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in trained.items())
    assert model.contact.regression.bias.item() < 0 < model.contact.regression.weight.max().item()


def test_transformers_opens_the_result(tmp_path: Path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pretrain(tiny_run.with_training(steps=2), tiny_run.corpus(), tmp_path, CPU)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()
    ours = load_folder(LAYOUT, tmp_path / "model")
    tokens = torch.from_numpy(ESM_ALPHABET.encode("MKTAYIAKQRQISFVK"))
    with torch.no_grad():
        expected = theirs(input_ids=tokens[None]).logits[0]
        logits = ours.lm_head(ours(tokens, tiny_run_segments(len(tokens))))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def tiny_run_segments(length: int):
    from chaperonin.kernels.segments import Segments

    return Segments([length])


def test_seed_decides_the_first_weights():
    first, again, other = (
        new_model(tiny_run.with_training(seed=seed), CPU).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["embedding.word.weight"], other["embedding.word.weight"])


def test_evaluation_holds_the_first_held_out_sequences_whole_or_cut():
    corpus, data = tiny_run.corpus(), tiny_run.SETTINGS.data
    batches = evaluation_batches(corpus, data)
    crops = [crop.tolist() for batch in batches for crop in batch]
    assert crops == [corpus.sequences[number][:30].tolist() for number in corpus.parts.holdout[:4]]
    assert all(sum(len(crop) + 2 for crop in batch) <= data.batch_tokens for batch in batches)


def test_command_leaves_a_model_a_report_and_the_failures(config: Path, tmp_path: Path):
    outdir = tmp_path / "out"
    assert main(["train", str(config), str(outdir)]) == 3
    run = json.loads((outdir / "run.json").read_text())
    assert run["records"] == {"read": 61, "done": 60, "failed": 1, "unique": 60}
    assert run["config"]["training"]["steps"] == 6
    failures = [json.loads(line) for line in (outdir / "failures.jsonl").read_text().splitlines()]
    assert [failure["id"] for failure in failures] == ["broken"]
    assert resolve(Pretraining, file=outdir / "config.yaml") == resolve(Pretraining, file=config)
    assert load_folder(LAYOUT, outdir / "model").config.width == 16
    assert "Learning curves" in (outdir / "report.html").read_text()


def test_dry_run_prints_the_plan_and_trains_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    outdir = tmp_path / "out"
    assert main(["train", str(config), str(outdir), "--dry-run", "--set", "training.steps=7"]) == 0
    printed = capsys.readouterr().out
    assert "steps: 7" in printed
    assert "memory, predicted" in printed
    assert "time, at this speed" in printed
    assert not outdir.exists()


def test_forecast_counts_what_the_model_has(config: Path):
    # Some megabytes of weights: memory of a few kilobytes may be found in pages that the process has already.
    wide = ["model.width=256", "model.depth=4", "model.heads=4", "model.inner_width=1024"]
    settings = resolve(Pretraining, file=config, overrides=wide)
    corpus = read_corpus(settings)
    expected = forecast(settings, corpus, CPU)
    model = new_model(settings, CPU)
    assert expected.parameters == sum(tensor.numel() for tensor in model.parameters())
    assert expected.tokens == 6 * 128
    assert expected.examples + expected.held_out == 60
    # Gradients and AdamW's two averages are as large as the weights.
    assert expected.memory_bytes > 4 * 4 * expected.parameters * 0.9


def test_input_that_is_not_there_is_named(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", str(config), str(tmp_path / "out"), "--set", "data.input=nowhere/*.fasta"]) == 1
    assert "nowhere/*.fasta" in capsys.readouterr().err


def test_unknown_setting_is_named(config: Path):
    with pytest.raises(UsageError, match="stepz"):
        resolve(Pretraining, file=config, overrides=["training.stepz=3"])


@pytest.mark.parametrize(
    "path",
    [REPOSITORY / f"configs/esm2-tiny{kind}.yaml" for kind in ("", "-gpu")],
    ids=lambda path: path.stem,
)
def test_shipped_recipes_fit_the_wheel(path: Path):
    settings = resolve(Pretraining, file=path)
    model = new_model(settings, CPU)
    bytes_each = 2 if "gpu" in path.stem else 4
    assert bytes_each * sum(tensor.numel() for tensor in model.parameters()) < 16e6
    schedule = settings.training.schedule
    assert schedule.warmup_steps + schedule.plateau_steps < settings.training.steps
