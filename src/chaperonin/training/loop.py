"""The training loop: batches in, gradients accumulated, a step, now and then an evaluation and a checkpoint.

Pre-training and fine-tuning share it. It knows nothing of proteins: a task gives batches and losses, a stream gives
records, and whatever wraps the model (adapters, other devices) has done so before.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from chaperonin.data.stream import Place
from chaperonin.errors import UsageError
from chaperonin.parallel.data import Processes
from chaperonin.parallel.expert import add_gradients, clip_gradients, own_parts, put_together
from chaperonin.tasks.metrics import SMALLER_IS_BETTER as SMALLER_FIGURES
from chaperonin.tasks.task import Batch, Task
from chaperonin.training import state
from chaperonin.training.average import Average
from chaperonin.training.optimizer import OptimizerSettings, build_optimizers, set_rate
from chaperonin.training.precision import Precision, autocast_dtype
from chaperonin.training.schedule import Schedule
from chaperonin.training.tracking import Meter, NoTracker, Tracker, add, perplexity

_TRAINING, _EVALUATION, _DROPOUT = 0, 1, 2  # what a random generator is for: part of its seed

SMALLER_IS_BETTER = (
    *("loss", "perplexity", "absolute_error", "masked_residues", "fused_residues", "fused_words"),
    *("balance_loss", "router_z_loss"),
    *SMALLER_FIGURES,
)
"""Measures of which the lowest is the best; of all others it is the highest."""


class Records(Protocol):
    """An endless stream of records, a batch at a time, that can be moved to a place."""

    place: Place

    def __next__(self) -> Sequence[Any]:
        """The records of the next batch."""
        ...


@dataclass(frozen=True)
class LoopSettings:
    """How long and how a model is trained."""

    seed: int = 0
    """Of the initial weights, the order of the data and everything else that is random."""
    steps: int = 1000
    """Optimizer steps in all."""
    accumulate: int = 1
    """Batches per step; their gradients add up to that of one large batch."""
    precision: Precision = "auto"
    """bf16 products where the processor has them (`auto`), or one of the two by name."""
    clip_norm: float = 1.0
    """Longest gradient; a longer one is shortened to it. 0 clips nothing."""
    average_decay: float = 0.0
    """Decay of a running average of the weights, which is then what is evaluated and kept. 0 keeps none."""
    log_every: int = 20
    """Steps between two lines of training metrics."""
    evaluate_every: int = 500
    """Steps between two evaluations on the hold-out."""
    checkpoint_every: int = 500
    """Steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints that stay; the best stays too."""
    best: str = "loss"
    """What is best on the hold-out when it is best: `loss`, another measure of the evaluations, or of a fine-tuning any
    figure of metrics.json (`mcc`, `auc`, `spearman`, `recall/M` …), for one more pass over the hold-out."""
    patience: int = 0
    """Evaluations without a better one after which the run ends. 0 never ends early."""
    tight_memory: bool | None = None
    """Keep the memory of a run on the CPU to what its tensors need, as predicted, for up to 1.8 times the time. Left to
    itself, the C library takes up to twice as much. By default only where that might not be free."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """How gradients become steps."""
    schedule: Schedule = field(default_factory=Schedule)
    """The learning rate over the steps."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    tokens: int
    best_step: int
    best_value: float
    seconds: float
    """Time of the steps and evaluations, also of those before a resume."""
    measure: str = "loss"
    """What the best value is of."""

    def __str__(self) -> str:
        text = f"{self.step:,} steps, {self.tokens:,} tokens"
        if self.best_step:
            text += (
                f"; best {self.measure} on the hold-out {self.best_value:.4f} after step {self.best_step:,}"
            )
        return text


@dataclass
class Progress:
    """What the loop counts; part of every checkpoint."""

    step: int = 0
    tokens: int = 0
    best_step: int = 0
    best_value: float = float("nan")
    worse: int = 0
    """Evaluations since the best one."""
    seconds: float = 0.0
    """Time so far, over all processes that went on from one another."""


class Training(Generic[Batch]):
    """One run: a model, what it learns, from what, and how far it has come."""

    def __init__(
        self,
        model: nn.Module,
        task: Task[Batch],
        stream: Records,
        holdout: Sequence[Sequence[Any]],
        settings: LoopSettings,
        identity: Mapping[str, Any] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.processes = processes or Processes()
        self.processes.require_even(settings.accumulate)
        self.model = model
        self.task = task
        self.stream = stream
        self.holdout = holdout
        self.settings = settings
        self.identity = {**(identity or {}), **_decisive(settings)}
        self.device = next(model.parameters()).device
        self.optimizers = build_optimizers(model, settings.optimizer)
        self.dtype = autocast_dtype(settings.precision, self.device)
        self.progress = Progress()
        self.average = Average(model, settings.average_decay) if settings.average_decay else None

    def run(self, folder: Path) -> Outcome:
        """Train to the last step, from the newest checkpoint in the folder if there is one."""
        self.folder = folder
        self.resume()
        self.started = time.monotonic() - self.progress.seconds
        tracker = Tracker(folder, self.progress.step) if self.processes.is_first else NoTracker()
        meter = Meter(self.progress.tokens)
        try:
            while self.progress.step < self.settings.steps and not self.is_over:
                meter.add(*self.step())
                self.after_step(tracker, meter)
        finally:
            tracker.close()
        self.take_best()
        done = self.progress
        return Outcome(
            done.step, done.tokens, done.best_step, done.best_value, done.seconds, self.settings.best
        )

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.settings.patience <= self.progress.worse

    def step(self) -> tuple[float, dict[str, Tensor]]:
        """One optimizer step; returns its targets and the sums of its metrics, of all processes."""
        settings, step = self.settings, self.progress.step
        batches = self.batches(step)
        counts = {"targets": float(sum(batch.targets for batch in batches.values()))}
        counts["size"] = float(sum(batch.size for batch in batches.values()))
        counts = self.processes.add(counts)
        targets = counts["targets"]
        rate = settings.schedule.rate(step, settings.steps)
        set_rate(self.optimizers, rate)
        self.model.train()
        sums: dict[str, Tensor] = {}
        for number, batch in batches.items():
            torch.manual_seed(_seed(settings.seed, _DROPOUT, step, number))
            with self.autocast():
                loss, metrics = self.task.loss(self.model, batch.to(self.device))
            # Divided by the targets of all batches: the gradient is that of one large batch, however they are cut.
            (loss / (targets or 1)).backward()
            add(sums, {"loss": loss.detach(), **metrics})
        add_gradients(self.model, self.processes)
        self.processes.share_running(self.model)
        norm = clip_gradients(self.model, settings.clip_norm or float("inf"))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)
        self.progress.step += 1
        self.progress.tokens += int(counts["size"])
        if self.processes.world > 1:
            added = self.processes.add({name: float(value) for name, value in sums.items()})
            sums = {name: torch.tensor(value) for name, value in added.items()}
        return targets, {**sums, "gradient_norm": norm * targets}

    def batches(self, step: int) -> dict[int, Batch]:
        """This process's share of the step's batches, by their number."""
        own = self.processes.share(self.settings.accumulate)
        records = [next(self.stream) for _ in range(self.settings.accumulate)]
        return {number: self.collate(records[number], step, number) for number in own}

    def collate(self, records: Sequence[Any], step: int, number: int) -> Batch:
        """A batch of records; its random part follows from seed, step and number."""
        generator = np.random.default_rng([self.settings.seed, _TRAINING, step, number])
        return self.task.collate(records, generator)

    def after_step(self, tracker: Tracker, meter: Meter) -> None:
        """What is due after a step: a line of metrics, an evaluation, a checkpoint."""
        settings, done = self.settings, self.progress
        done.seconds = time.monotonic() - self.started
        is_last = done.step == settings.steps
        keeps = done.step % settings.checkpoint_every == 0 or is_last
        if (
            done.step % settings.log_every == 0 or keeps
        ):  # before a checkpoint always, so that sums begin anew after it
            rate = settings.schedule.rate(done.step - 1, settings.steps)
            tracker.write(
                "train", done.step, tokens=done.tokens, **meter.take(done.tokens), learning_rate=rate
            )
        if self.holdout and (done.step % settings.evaluate_every == 0 or is_last):
            self.evaluate_and_keep(tracker)
        if keeps or self.is_over:
            self.checkpoint()

    def evaluate_and_keep(self, tracker: Tracker) -> None:
        """Evaluate, and keep the weights if they are the best so far."""
        done = self.progress
        with self.average.inside(self.model) if self.average else nullcontext():
            values = self.evaluate()
            held_out = {f"held_out_{name}": value for name, value in values.items()}
            tracker.write("evaluate", done.step, tokens=done.tokens, **held_out)
            if not self.is_better(values):
                done.worse += 1
                return
            done.best_step, done.best_value, done.worse = done.step, values[self.settings.best], 0
            best = {"model": put_together(self.model, state.trained_weights(self.model)), "step": done.step}
            if self.processes.is_first:
                state.save(best, self.folder / state.FOLDER / state.BEST)

    def is_better(self, values: Mapping[str, float]) -> bool:
        """Whether an evaluation is better than the best so far; a measure that is not a number never is."""
        measure = self.settings.best
        if measure not in values:
            raise UsageError(
                f"the evaluations have no measure {measure!r}",
                where="training.best",
                advice=f"There are: {', '.join(values)}.",
            )
        value, best = values[measure], self.progress.best_value
        if not self.progress.best_step:
            return value == value
        return value < best if measure in SMALLER_IS_BETTER else value > best

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Loss, perplexity and metrics per target on the hold-out; the same targets at every call."""
        self.model.eval()
        sums: dict[str, Tensor] = {}
        targets = 0.0
        for number, counts in self.processes.rounds(len(self.holdout)):
            generator = np.random.default_rng([self.settings.seed, _EVALUATION, number])
            batch = self.task.collate(self.holdout[number], generator)
            with self.autocast():
                loss, metrics = self.task.loss(self.model, batch.to(self.device))
            if counts:
                add(sums, {"loss": loss, **metrics})
                targets += batch.targets
        added = self.processes.add({"targets": targets, **{name: float(own) for name, own in sums.items()}})
        targets = added.pop("targets") or 1
        values = {name: total / targets for name, total in added.items()}
        return {
            "loss": values.pop("loss"),
            "perplexity": perplexity(added["loss"] / targets),
            **values,
        }

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 products, or nothing."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def checkpoint(self) -> None:
        """Write everything that is needed to go on."""
        others = {
            "progress": vars(self.progress),
            "place": list(self.stream.place),
            "identity": {**self.identity, "learning rates so far": self.past_rates()},
            "average": put_together(self.model, self.average.weights) if self.average else None,
        }
        current = state.training_state(self.model, self.optimizers, **others)
        if self.processes.is_first:
            state.save(current, state.checkpoint_path(self.folder, self.progress.step))
            state.remove_old(self.folder, self.settings.keep_checkpoints)

    def resume(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        path = self.processes.from_first(state.latest(self.folder) if self.processes.is_first else None)
        if path is None:
            return
        stored = self.processes.from_first(state.load(path) if self.processes.is_first else {})
        self.progress = Progress(**stored["progress"])
        present = {**self.identity, "learning rates so far": self.past_rates()}
        changed = [name for name, value in present.items() if stored["identity"].get(name) != value]
        if changed:
            raise UsageError(
                f"this run was begun with other settings: {', '.join(changed)}",
                where=str(path),
                advice="Give the settings it began with, or another folder. Steps and schedule may change in what is "
                "still to come, and so may all that is only about logs, evaluations and checkpoints.",
            )
        state.restore(stored, self.model, self.optimizers)
        self.stream.place = Place(*stored["place"])
        if self.average is not None:
            own = own_parts(self.model, stored["average"])
            self.average.weights = {name: tensor.to(self.device) for name, tensor in own.items()}

    def take_best(self) -> None:
        """Give the model the weights that were best on the hold-out, or without one the average, if there is any."""
        if self.progress.best_step:
            path = self.folder / state.FOLDER / state.BEST
            best = self.processes.from_first(state.load(path)["model"] if self.processes.is_first else {})
            state.put_weights(self.model, own_parts(self.model, best))
        elif self.average is not None:
            state.put_weights(self.model, self.average.weights)

    def past_rates(self) -> list[float]:
        """Learning rates at some of the steps so far."""
        done = self.progress.step
        return [
            self.settings.schedule.rate(step, self.settings.steps)
            for step in range(0, done, max(1, done // 64))
        ]


def train(
    model: nn.Module,
    task: Task[Batch],
    stream: Records,
    holdout: Sequence[Sequence[Any]],
    settings: LoopSettings,
    folder: Path,
    identity: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
) -> Outcome:
    """Train a model in place; afterwards it has the weights that were best on the hold-out.

    The same call on the same folder goes on where it stopped, and the losses are those of a run that never stopped.
    `identity` is what else must be equal for that: UsageError names what is not.
    """
    (folder / state.FOLDER).mkdir(parents=True, exist_ok=True)
    return Training(model, task, stream, holdout, settings, identity, processes).run(folder)


def _decisive(settings: LoopSettings) -> dict[str, Any]:
    """The settings that the steps so far depend on."""
    names = ("seed", "accumulate", "precision", "clip_norm", "average_decay", "optimizer")
    values = asdict(settings)
    if settings.optimizer.backbone_share == 1:
        del values["optimizer"]["backbone_share"]  # runs that began before there was this setting go on
    return {f"training.{name}": values[name] for name in names}


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
