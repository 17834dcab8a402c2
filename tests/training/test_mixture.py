"""Pre-training of an AIDO.Protein: settings, the losses of its routers in the loop, resume, stages, what it leaves."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_mixture
import tiny_run
import torch

import chaperonin
from chaperonin.cli.main import main
from chaperonin.config import as_yaml, resolve
from chaperonin.errors import UsageError
from chaperonin.models.aido import AIDO
from chaperonin.protein.alphabet import AIDO_ALPHABET
from chaperonin.tasks.masked_language import MaskedBatch, MaskedLanguage
from chaperonin.tasks.routing import balance_loss, router_z_loss, routings
from chaperonin.training.architecture import AIDOModel, count_parameters
from chaperonin.training.loop import Training
from chaperonin.training.pretrain import (
    Pretraining,
    evaluation_batches,
    identity,
    new_model,
    new_task,
    training_stream,
)
from chaperonin.training.tracking import describe, perplexity, read_metrics
from chaperonin.weights.files import tensors, weight_files

REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SIZES = "width: 16, depth: 1, heads: 2, inner_width: 24"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    tiny_run.run(folder, tiny_mixture.SETTINGS)
    return folder


def settings_of(tmp_path: Path, text: str, *overrides: str) -> Pretraining:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return resolve(Pretraining, file=path, overrides=overrides)


class Given(MaskedLanguage):
    """The task, with batches that were made before."""

    def __init__(self, batches: list[MaskedBatch]) -> None:
        super().__init__(AIDO_ALPHABET, 0.5, 0.1)
        self.batches = iter(batches)

    def collate(self, records: Any, generator: Any) -> MaskedBatch:
        return next(self.batches)


def made_batches(count: int) -> list[MaskedBatch]:
    task = MaskedLanguage(AIDO_ALPHABET)
    training = training_of(task, accumulate=count)
    return list(training.batches(0).values())


def training_of(task: MaskedLanguage, **changes: object) -> Training:
    settings = tiny_run.with_training(tiny_mixture.SETTINGS, average_decay=0.0, clip_norm=0.0, **changes)
    stream = training_stream(tiny_run.corpus(), settings)
    return Training(new_model(settings, CPU), task, stream, [], settings.training)


def gradient_of(batches: list[MaskedBatch]) -> torch.Tensor:
    """The gradient of a step of these batches, which is not taken."""
    training = training_of(Given(batches), accumulate=len(batches))
    for optimizer in training.optimizers:
        optimizer.step = lambda: None
        optimizer.zero_grad = lambda set_to_none: None
    training.step()
    return torch.cat([own.grad.flatten() for own in training.model.parameters() if own.grad is not None])


def test_type_chooses_the_model(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"model: {{type: aido, {SIZES}, experts: 4}}", "model.experts=6")
    assert settings.model == AIDOModel(width=16, depth=1, heads=2, inner_width=24, experts=6)
    assert isinstance(new_model(settings, CPU), AIDO)
    assert settings_of(tmp_path, as_yaml(settings)) == settings
    plain = settings_of(tmp_path, f"model: {{{SIZES}}}")
    assert settings_of(tmp_path, f"model: {{type: esm, {SIZES}}}") == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {type: gpt}", r"model\.type = 'gpt' is not known\. There is esm, aido"),
        ("model: {type: aido, expert: 4}", r"called model\.expert\. Did you mean model\.experts\?"),
        ("model: {experts: 4}", r"called model\.experts\. There are: model\.width"),
        ("model: {type: aido, width: many}", r"model\.width = 'many': Input should be a valid integer"),
        ("model: {width: many}", r"model\.width = 'many': Input should be a valid integer"),
        ("model: {type: aido, gate: relu}", r"model\.gate = 'relu'"),
        ("model: {type: aido, experts: 2, experts_per_token: 3}", "cannot go through 3 of 2 experts"),
        ("model: {type: aido, width: 100}", "100 channels cannot be shared by 36 heads"),
        ("model: {type: aido, width: 6, heads: 2}", "3 channels a head cannot be turned in pairs"),
        ("model: {width: 100}", "turned in pairs"),
        ("model: {type: aido, vocabulary: 20}", "20 tokens are too few: the alphabet has 44"),
        ("model: {type: aido, structure_width: 8}", "sequences come without a structure"),
        ("model: {type: aido, depth: 0}", "depth is 0"),
        ("model: {type: aido}\nneighbour_layers: 1", "neighbour_layers: an AIDO.Protein has none"),
        ("initial: somewhere\nneighbour_layers: 1", "weights that are given already look somewhere"),
        ("expert_processes: 2", "expert_processes: the model has no experts to share"),
        ("model: {type: aido}\nexpert_processes: 3", "8 experts cannot be shared evenly by 3 processes"),
        ("balance_weight: -1", "balance_weight: a weight cannot be -1"),
    ],
)
def test_what_makes_no_model_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings_of(tmp_path, text)


def test_runs_of_an_esm_go_on_as_what_they_were() -> None:
    names = ["width", "depth", "heads", "inner_width", "positions", "max_positions"]
    names += ["norm_embedding", "token_dropout", "norm_epsilon"]
    expected = {*(f"model.{name}" for name in names), "neighbour_layers", "the sequences"}
    expected |= {"data.window", "data.batch_tokens", "data.holdout_share"}
    settings = resolve(Pretraining, file=REPOSITORY / "configs/esm2-tiny.yaml")
    found = identity(settings, tiny_run.corpus())
    # A run that began before these were added has no value for them, which compares as None.
    assert {name for name, value in found.items() if value is not None} == expected


def test_the_same_batch_twice_is_the_same_step() -> None:
    (batch,) = made_batches(1)
    torch.testing.assert_close(gradient_of([batch, batch]), gradient_of([batch]), rtol=1e-5, atol=1e-8)


def test_losses_of_routers_are_weighted_like_their_batches() -> None:
    batches = made_batches(3)
    targets = [batch.targets for batch in batches]
    assert len(set(targets)) > 1
    each = torch.stack([gradient_of([batch]) for batch in batches])
    shares = torch.tensor(targets) / sum(targets)
    torch.testing.assert_close(gradient_of(batches), (shares[:, None] * each).sum(0), rtol=1e-4, atol=1e-7)


def test_held_out_perplexity_is_that_of_the_residues_alone() -> None:
    settings, corpus = tiny_mixture.SETTINGS, tiny_run.corpus()
    model = new_model(settings, CPU)
    heavy = replace(settings, balance_weight=5.0, router_z_weight=3.0)
    found = []
    for own in (settings, heavy):
        holdout = evaluation_batches(corpus, own.data)
        stream = training_stream(corpus, own)
        found.append(Training(model, new_task(own, model), stream, holdout, own.training).evaluate())
    assert found[0] == found[1]
    assert found[0]["perplexity"] == perplexity(found[0]["loss"])
    assert found[0]["balance_loss"] > 0 and found[0]["router_z_loss"] > 0


def test_the_log_says_how_experts_are_used(run: Path) -> None:
    lines = list(read_metrics(run / "metrics.jsonl"))
    assert {line["event"] for line in lines} == {"train", "evaluate"}
    for line in lines:
        start = "held_out_" if line["event"] == "evaluate" else ""
        for number in (1, 2):
            busiest = line[f"{start}busiest_expert_of_layer_{number}"]
            idlest = line[f"{start}idlest_expert_of_layer_{number}"]
            assert 0 <= idlest <= 1 / 4 <= busiest <= 1 / 2
        assert 0 < line[f"{start}expert_evenness"] <= 1
        assert line[f"{start}balance_loss"] > 0 and line[f"{start}router_z_loss"] > 0
        said = describe(line)
        assert f"{start}expert_evenness" in said and "of_layer" not in said


def test_usage_on_the_hold_out_is_counted_by_hand(run: Path) -> None:
    settings, corpus = tiny_mixture.SETTINGS, tiny_run.corpus()
    model = new_model(settings, CPU).eval()
    batches, task = evaluation_batches(corpus, settings.data), new_task(settings, model)
    training = Training(model, task, training_stream(corpus, settings), batches[:1], settings.training)
    found = training.evaluate()
    batch = task.collate(batches[0], np.random.default_rng([settings.training.seed, 1, 0]))
    with routings(model) as layers, torch.no_grad():
        model(batch.tokens, batch.segments)
    counts = layers[0].logits.topk(2).indices.flatten().bincount(minlength=4)
    assert found["busiest_expert_of_layer_1"] == pytest.approx(counts.max().item() / counts.sum().item())
    assert found["idlest_expert_of_layer_1"] == pytest.approx(counts.min().item() / counts.sum().item())
    assert found["balance_loss"] == pytest.approx(balance_loss(layers).item())
    assert found["router_z_loss"] == pytest.approx(router_z_loss(layers).item())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(tensors(weight_files(folder / "model")))


def test_a_run_that_stopped_goes_on_to_the_last_bit(run: Path, tmp_path: Path) -> None:
    tiny_run.run(tmp_path, tiny_run.with_training(tiny_mixture.SETTINGS, steps=4))
    tiny_run.run(tmp_path, tiny_mixture.SETTINGS)
    ours, theirs = weights(tmp_path), weights(run)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(own, theirs[name]) for name, own in ours.items())
    logs = [
        [{**line, "tokens_per_second": 0} for line in read_metrics(folder / "metrics.jsonl")]
        for folder in (tmp_path, run)
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"balance_weight": 0.1}, "balance_weight"),
        ({"router_z_weight": 0.1}, "router_z_weight"),
        ({"model": replace(tiny_mixture.SETTINGS.model, experts=3)}, r"model\.experts"),
        ({"model": tiny_run.SETTINGS.model}, r"model\.depth"),
    ],
)
def test_other_settings_are_refused_by_name(run: Path, change: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        tiny_run.run(run, replace(tiny_mixture.SETTINGS, **change))


def test_what_is_saved_opens_as_an_aido_with_the_best_weights(run: Path) -> None:
    model = chaperonin.load(str(run / "model"), precision="fp32", device="cpu")
    assert isinstance(model, AIDO) and model.contact is None
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)["model"]
    router = "layers.1.feed_forward.router.weight"
    assert torch.equal(dict(model.named_parameters())[router], best[router])


def test_a_stage_begins_with_the_weights_of_the_one_before(run: Path, tmp_path: Path) -> None:
    stage = replace(tiny_mixture.SETTINGS, initial=str(run / "model"))
    model = new_model(stage, CPU)
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)["model"]
    assert all(torch.equal(own, best[name]) for name, own in model.named_parameters())
    assert all(own.requires_grad for own in model.parameters()) and model.training
    assert identity(stage, tiny_run.corpus())["initial"] == str(run / "model")
    outcome = tiny_run.run(tmp_path, stage)
    assert outcome.step == 8
    assert any(not torch.equal(own, weights(run)[name]) for name, own in weights(tmp_path).items())


def test_an_esm_begins_with_given_weights_too(tmp_path: Path) -> None:
    tiny_run.run(tmp_path / "first", tiny_run.with_training(steps=2))
    stage = replace(
        tiny_run.with_training(steps=2), neighbour_layers=0, initial=str(tmp_path / "first/model")
    )
    model = new_model(stage, CPU)
    best = torch.load(tmp_path / "first/checkpoints/best.pt", weights_only=True)["model"]
    trained = {name: own for name, own in model.named_parameters() if own.requires_grad}
    assert trained.keys() == best.keys()
    assert all(torch.equal(own, best[name]) for name, own in trained.items())


def test_weights_of_another_model_are_refused(run: Path) -> None:
    other = replace(tiny_mixture.SETTINGS.model, experts=3)
    with pytest.raises(UsageError, match="experts is 4, not 3"):
        new_model(replace(tiny_mixture.SETTINGS, model=other, initial=str(run / "model")), CPU)
    esm = replace(tiny_run.SETTINGS, neighbour_layers=0, initial=str(run / "model"))
    with pytest.raises(UsageError, match="a model of the type fm4bio"):
        new_model(esm, CPU)


def test_the_two_small_recipes_have_equal_active_parameters_up_to_the_router() -> None:
    mixture, dense = (
        resolve(Pretraining, file=REPOSITORY / f"configs/aido-tiny-{name}.yaml") for name in ("moe", "dense")
    )
    shape = mixture.model
    routers = shape.depth * shape.experts * shape.width
    found = count_parameters(shape)
    assert found.active - routers == count_parameters(dense.model).active
    assert found.total > 3 * found.active
    assert (mixture.data, mixture.training) == (dense.data, dense.training)


def test_the_stages_of_the_16b_follow_on_one_another() -> None:
    stages = [resolve(Pretraining, file=REPOSITORY / f"configs/aido-16b-stage-{n}.yaml") for n in (1, 2, 3)]
    assert {stage.model for stage in stages} == {AIDOModel()}
    assert [stage.initial for stage in stages] == [None, *(f"runs/aido-16b-stage-{n}/model" for n in (1, 2))]
    for stage, tokens in zip(stages, (1e12, 2e11, 1e11), strict=True):
        per_step = stage.data.batch_tokens * stage.training.accumulate
        assert per_step == 2048 * 2048
        assert stage.training.steps * per_step == pytest.approx(tokens, rel=1e-3)
    found = count_parameters(AIDOModel())
    assert (round(found.total / 1e9, 3), round(found.active / 1e9, 3)) == (16.059, 4.589)
    assert round(found.held(8) / 1e9, 3) == 2.678


def test_a_model_that_does_not_fit_is_planned_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chaperonin.training.forecast.free_bytes", lambda device: 64_000_000_000)
    command = ["train", str(REPOSITORY / "configs/aido-16b-stage-1.yaml"), str(tmp_path / "out")]
    command += [
        "--set",
        f"data.input={REPOSITORY / 'examples/proteins.fasta'}",
        "--set",
        "data.holdout_share=0",
    ]
    command += ["--device", "cpu"]
    assert main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "of which a token goes through 4," in printed
    assert "for weights, gradients and optimizer: it does not fit" in printed
    assert not (tmp_path / "out").exists()
    assert main(command) == 1
    assert "take 257.0 GB to train, 64.0 GB are free" in capsys.readouterr().err


def test_the_command_trains_a_mixture_and_says_what_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text(
        f"model: {{type: aido, {SIZES}, experts: 4, bias: false}}\n"
        f"data: {{input: '{REPOSITORY}/examples/proteins.fasta', window: 60, batch_tokens: 256, holdout_share: 0.1}}\n"
        "training: {steps: 2, schedule: {warmup_steps: 1}}\n"
    )
    assert main(["train", str(path), str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert "of which a token goes through" in capsys.readouterr().err
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["config"]["model"]["type"] == "aido"
    assert (tmp_path / "out/report.html").is_file()


@pytest.mark.slow  # the same without the command is in the usual suite: tests/parallel/test_expert.py
def test_the_command_of_the_guide_trains_by_several_processes(tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs/guides/pretraining.md").read_text()
    shown = re.search(r"^torchrun .*?\n```", guide, re.DOTALL | re.MULTILINE)
    assert shown is not None
    words = shlex.split(shown[0].removesuffix("```").replace("\\\n", " ").replace("out/moe", str(tmp_path)))
    words[words.index("--nproc-per-node") + 1] = "4"
    words[words.index("chaperonin")] = str(Path(sys.executable).parent / "chaperonin")
    small = {
        "data.input": REPOSITORY / "examples/proteins.fasta",
        "data.batch_tokens": 256,
        "training.steps": 2,
    }
    small |= {"data.holdout_share": 0.1, "training.schedule.warmup_steps": 1}
    words += [word for name, value in small.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:], "--device", "cpu"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=500, check=False)
    assert run.returncode == 0, run.stderr
    assert "in each of 4 processes" in run.stderr and "2 steps, " in run.stderr
    assert (tmp_path / "report.html").is_file()
    assert chaperonin.load(str(tmp_path / "model"), precision="fp32", device="cpu").config.experts == 8
