"""Experts over processes give what one process gives: outputs, gradients, and weights put together again."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
import torch
from tests.forked import run_together
from tests.parallel import sharded_experts
from torch import nn

from chaperonin.config import resolve
from chaperonin.errors import UsageError
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.parallel.data import Processes
from chaperonin.parallel.expert import shard_experts
from chaperonin.training.architecture import AIDOModel, initial_model
from chaperonin.training.pretrain import Pretraining, pretrain, read_corpus
from chaperonin.training.tracking import read_metrics
from chaperonin.weights.files import tensors, weight_files

REPOSITORY = Path(__file__).parents[2]
SHAPE = {"width": 16, "depth": 2, "heads": 2, "inner_width": 24, "experts": 4, "experts_per_token": 2}


@dataclass(frozen=True)
class Shared:
    """What several processes left."""

    folder: Path
    config: Path
    world: int
    ways: tuple[int, ...]
    """Numbers of them that shared experts, one after the other."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((2, (2,)), id="2", marks=pytest.mark.slow),
        pytest.param((4, (4, 2)), id="4, and two by two"),
    ],
)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    world, ways = request.param
    folder = tmp_path_factory.mktemp("shared")
    config = folder / "mixture.yaml"
    common = (
        f"data: {{input: '{REPOSITORY}/examples/proteins.fasta', window: 40, batch_tokens: 128, holdout_share: 0.2}}\n"
        "training: {accumulate: 4, precision: fp32, average_decay: 0.9, clip_norm: 0.5, log_every: 1,\n"
        "    evaluate_every: 2, checkpoint_every: 4, schedule: {peak: 0.003, warmup_steps: 2, plateau_steps: 20}}\n"
    )
    shape = ", ".join(f"{name}: {value}" for name, value in SHAPE.items())
    config.write_text(f"{common}model: {{type: aido, {shape}}}\n")
    dense = common.replace(
        "schedule:", f"steps: {sharded_experts.STEPS}, optimizer: {{method: muon}}, schedule:"
    )
    (folder / "dense.yaml").write_text(f"{dense}model: {{width: 16, depth: 1, heads: 2, inner_width: 32}}\n")
    run_together(world, sharded_experts.__file__, folder, config, *ways)
    return Shared(folder, config, world, ways)


def test_several_processes_give_what_one_gives(shared: Shared) -> None:
    one = sharded_experts.model()
    logits = [sharded_experts.step(one, number) for number in range(shared.world)]
    gradients = {name: parameter.grad.clone() for name, parameter in one.named_parameters()}
    length = nn.utils.clip_grad_norm_(one.parameters(), 0.5)
    for sharing, rank in product(shared.ways, range(shared.world)):
        own = torch.load(shared.folder / f"{sharing}-{rank}.pt")
        assert own["held"] == 8 // sharing
        torch.testing.assert_close(own["logits"], logits[rank], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own["length"], length, atol=0, rtol=1e-5)
        for name, parameter in one.named_parameters():
            expected = gradients[name]
            if ".experts." in name:
                expected = expected.chunk(sharing)[rank % sharing]
            # A small number may be the sum of many as large as the largest: fp32 is 1e-6 of that off double precision.
            rounding = 3e-6 * float(gradients[name].abs().max())
            torch.testing.assert_close(
                own["gradients"][name],
                expected,
                atol=rounding,
                rtol=1e-5,
                msg=lambda said, name=name: f"{name}: {said}",
            )
            if rank == 0:  # there the parts come together
                assert torch.equal(own["weights"][name], parameter), name
                torch.testing.assert_close(own["clipped"][name], parameter.grad, atol=1e-5, rtol=1e-5)


def test_pre_training_is_the_same_by_any_number_of_processes_and_goes_on_with_another(
    shared: Shared, tmp_path: Path
) -> None:
    run = shared.folder / "run"
    initial = torch.load(shared.folder / "initial-0.pt")
    for name, expected in initial_model(AIDOModel(**SHAPE), str(run / "model")).named_parameters():
        assert torch.equal(initial[name], expected), name
    steps = sharded_experts.STEPS * len(shared.ways) + 2
    settings = resolve(Pretraining, file=shared.config, overrides=[f"training.steps={steps}"])
    for folder in (run, tmp_path):
        pretrain(settings, read_corpus(settings), folder, torch.device("cpu"))
    assert_near(run, tmp_path)


def test_an_esm_is_pre_trained_the_same_by_several_processes(shared: Shared, tmp_path: Path) -> None:
    settings = resolve(Pretraining, file=shared.folder / "dense.yaml")
    pretrain(settings, read_corpus(settings), tmp_path, torch.device("cpu"))
    assert_near(shared.folder / "dense", tmp_path)


def assert_near(run: Path, alone: Path) -> None:
    """Logs and weights of a run by several processes, and of one by one process."""
    ours, theirs = (list(read_metrics(folder / "metrics.jsonl")) for folder in (run, alone))
    assert [line["event"] for line in ours] == [line["event"] for line in theirs]
    for line, expected in zip(ours, theirs, strict=True):
        for name in expected.keys() - {"event", "tokens_per_second"}:
            # Gradients are added up in another order: rounding of fp32.
            assert line[name] == pytest.approx(expected[name], rel=2e-4, abs=1e-6), name
    weights = [dict(tensors(weight_files(folder / "model"))) for folder in (run, alone)]
    for name, expected in weights[1].items():
        torch.testing.assert_close(weights[0][name], expected, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    ("world", "sharing", "message"),
    [
        (16, 16, "16 processes are more than the 8 experts"),
        (3, 3, "8 experts cannot be shared evenly by 3 processes"),
        (6, 4, "6 processes cannot be parted into groups of 4"),
    ],
)
def test_what_cannot_be_shared_is_refused(world: int, sharing: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        shard_experts(sharded_experts.model(), Processes(0, world), sharing)


def test_a_model_without_experts_is_refused() -> None:
    with pytest.raises(UsageError, match="no experts to share"):
        shard_experts(ESM(ESMConfig(width=16, depth=1, heads=2, inner_width=16)), Processes(0, 2), 2)
