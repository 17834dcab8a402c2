from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch

from chaperonin.data.stream import Sequences, Stream
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.tasks.masked_language import MaskedBatch, MaskedLanguage
from chaperonin.training import state
from chaperonin.training.loop import LoopSettings, Training, train
from chaperonin.training.optimizer import OptimizerSettings
from chaperonin.training.pretrain import evaluation_batches, new_model, training_stream
from chaperonin.training.schedule import Schedule
from chaperonin.training.tracking import read_metrics

CPU = torch.device("cpu")


class Recorded(MaskedLanguage):
    """The task, with the batches that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[MaskedBatch] = []

    def collate(self, records, generator) -> MaskedBatch:
        self.batches.append(super().collate(records, generator))
        return self.batches[-1]


class Given(MaskedLanguage):
    """The task, with batches that were made before."""

    def __init__(self, batches: list[MaskedBatch]) -> None:
        super().__init__()
        self.batches = iter(batches)

    def collate(self, records, generator) -> MaskedBatch:
        return next(self.batches)


def joined(batches: list[MaskedBatch]) -> MaskedBatch:
    """Several batches as one stream."""
    starts = np.cumsum([0] + [batch.size for batch in batches[:-1]])
    lengths = [length for batch in batches for length in batch.segments.lengths]
    return MaskedBatch(
        torch.cat([batch.tokens for batch in batches]),
        type(batches[0].segments)(lengths),
        torch.cat([batch.positions + int(start) for batch, start in zip(batches, starts, strict=True)]),
        torch.cat([batch.residues for batch in batches]),
    )


def training_of(task: MaskedLanguage, **changes: object) -> Training:
    settings = tiny_run.with_training(average_decay=0.0, **changes)
    stream = training_stream(tiny_run.corpus(), settings)
    return Training(new_model(settings, CPU), task, stream, [], settings.training)


def gradient_of(training: Training) -> torch.Tensor:
    """The gradient of the next step, which is not taken."""
    for optimizer in training.optimizers:
        optimizer.step = lambda: None
        optimizer.zero_grad = lambda set_to_none: None
    training.step()
    found = [tensor.grad for tensor in training.model.parameters() if tensor.grad is not None]
    return torch.cat([gradient.flatten() for gradient in found])


def test_accumulated_batches_have_the_gradient_of_one_large_batch():
    several = gradient_of(training_of(recorded := Recorded(), accumulate=4, clip_norm=0.0))
    assert (
        len({batch.targets for batch in recorded.batches}) > 1
    )  # unequal parts, or a mean of means would do
    one = gradient_of(training_of(Given([joined(recorded.batches)]), accumulate=1, clip_norm=0.0))
    # The same sums in another order: what differs is fp32 rounding.
    torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-6)


def test_loss_of_a_step_is_the_mean_over_all_targets():
    training = training_of(recorded := Recorded(), accumulate=3)
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    targets, sums = training.step()
    training.model.load_state_dict(before)
    loss, _ = MaskedLanguage().loss(training.model, joined(recorded.batches))
    assert targets == sum(batch.targets for batch in recorded.batches)
    assert float(sums["loss"]) == pytest.approx(loss.item(), rel=1e-5)


def test_gradient_is_cut_to_the_longest_allowed():
    free = gradient_of(training_of(MaskedLanguage(), clip_norm=0.0))
    longest = free.norm().item() / 10
    cut = gradient_of(training_of(MaskedLanguage(), clip_norm=longest))
    torch.testing.assert_close(cut, free / 10, rtol=1e-4, atol=1e-8)


def test_four_sequences_are_learned_by_heart(tmp_path: Path):
    sequences = Sequences.gather(
        ["MKTAYIAKQRQISFVKSHFSRQ", "GAVLIPFYWSTCMNQDEKRH", "HHHHWWWWCCCCMMMM", "AEAEAEKKAEAEAEKK"]
    )
    model = ESM(ESMConfig(width=64, depth=1, heads=2, inner_width=128))
    model.initialise(torch.Generator().manual_seed(0))
    settings = LoopSettings(
        steps=200,
        log_every=50,
        evaluate_every=1000,
        checkpoint_every=1000,
        precision="fp32",
        optimizer=OptimizerSettings(method="muon"),
        schedule=Schedule(peak=1e-2, warmup_steps=20),
    )
    stream = Stream(sequences, seed=0, window=30, batch_tokens=256)
    train(model, MaskedLanguage(), stream, [], settings, tmp_path)
    losses = [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert losses[0] > 2.0
    assert losses[-1] < 1.2  # knowing how frequent each residue is gives 2.6


def test_run_ends_with_the_weights_that_were_best(tmp_path: Path):
    # A rate that only does harm after the first evaluation.
    settings = tiny_run.with_training(
        steps=20, average_decay=0.0, evaluate_every=2, schedule=Schedule(peak=0.5, warmup_steps=20)
    )
    model = new_model(settings, CPU)
    corpus = tiny_run.corpus()
    holdout = evaluation_batches(corpus, settings.data)
    outcome = train(
        model, MaskedLanguage(), training_stream(corpus, settings), holdout, settings.training, tmp_path
    )
    losses = {
        line["step"]: line["held_out_loss"]
        for line in read_metrics(tmp_path / "metrics.jsonl")
        if "held_out_loss" in line
    }
    assert outcome.best_value == min(losses.values())
    assert outcome.best_step == min(losses, key=losses.get) < 20
    check = Training(model, MaskedLanguage(), training_stream(corpus, settings), holdout, settings.training)
    assert check.evaluate()["loss"] == pytest.approx(outcome.best_value, rel=1e-6)


def test_run_without_progress_ends_early(tmp_path: Path):
    settings = tiny_run.with_training(
        steps=60, average_decay=0.0, evaluate_every=2, patience=3, schedule=Schedule(peak=1.0, warmup_steps=1)
    )
    outcome = tiny_run.run(tmp_path, settings)
    assert outcome.step < 60
    assert outcome.step == outcome.best_step + 3 * 2
    assert tiny_run.run(tmp_path, settings).step == outcome.step


def test_average_is_the_formula_and_leaves_the_model_alone(tmp_path: Path):
    settings = tiny_run.with_training(average_decay=0.8)
    training = Training(
        new_model(settings, CPU),
        MaskedLanguage(),
        training_stream(tiny_run.corpus(), settings),
        [],
        settings.training,
    )
    expected = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    for _ in range(3):
        training.step()
        for name, tensor in training.model.state_dict().items():
            expected[name] = 0.8 * expected[name] + 0.2 * tensor
    own = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    with training.average.inside(training.model):
        for name, tensor in training.model.state_dict().items():
            torch.testing.assert_close(tensor, expected[name])
    assert all(torch.equal(tensor, own[name]) for name, tensor in training.model.state_dict().items())


def test_without_hold_out_the_average_is_the_result(tmp_path: Path):
    settings = tiny_run.with_training(steps=8, average_decay=0.5)
    model = new_model(settings, CPU)
    stream = training_stream(tiny_run.corpus(), settings)
    train(model, MaskedLanguage(), stream, [], settings.training, tmp_path)
    stored = state.load(state.checkpoint_path(tmp_path, 8))
    assert stored["average"].keys() == state.trained_weights(model).keys()
    for name, tensor in state.trained_weights(model).items():
        assert torch.equal(tensor, stored["average"][name])


def test_evaluation_asks_the_same_questions_every_time():
    settings = tiny_run.SETTINGS
    corpus = tiny_run.corpus()
    training = Training(
        new_model(settings, CPU),
        MaskedLanguage(),
        training_stream(corpus, settings),
        evaluation_batches(corpus, settings.data),
        settings.training,
    )
    assert training.evaluate() == training.evaluate()


@pytest.mark.parametrize(
    ("measure", "better"), [("absolute_error", 1.0), ("rmse", 1.0), ("loss", 1.0), ("mcc", 3.0)]
)
def test_errors_are_best_when_low_and_all_else_when_high(measure: str, better: float):
    training = training_of(MaskedLanguage(), best=measure)
    training.progress.best_step, training.progress.best_value = 1, 2.0
    assert training.is_better({measure: better})
    assert not training.is_better({measure: 4.0 - better})
    assert not training.is_better({measure: float("nan")})
