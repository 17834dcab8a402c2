"""The training loop: batches in, gradients accumulated, a step, now and then an evaluation and a checkpoint.

Pre-training and fine-tuning share it. It knows nothing of proteins: a task gives batches and losses, a stream gives
records, and whatever wraps the model (adapters, other devices) has done so before.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor, nn

from chaperonin.data.stream import Place, Stream
from chaperonin.errors import UsageError
from chaperonin.tasks.task import Batch, Task
from chaperonin.training import state
from chaperonin.training.device import Precision, autocast_dtype
from chaperonin.training.optimizer import OptimizerSettings, build_optimizers, set_rate
from chaperonin.training.schedule import Schedule
from chaperonin.training.tracking import Tracker, perplexity

_TRAINING, _EVALUATION = 0, 1  # what a random generator is for: part of its seed


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
    patience: int = 0
    """Evaluations without a better loss after which the run ends. 0 never ends early."""
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
    best_loss: float
    seconds: float
    """Time in this process, without what ran before a resume."""

    def __str__(self) -> str:
        text = f"{self.step:,} steps, {self.tokens:,} tokens"
        if self.best_step:
            text += f"; best loss on the hold-out {self.best_loss:.4f} after step {self.best_step:,}"
        return text


@dataclass
class Progress:
    """What the loop counts; part of every checkpoint."""

    step: int = 0
    tokens: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    worse: int = 0
    """Evaluations since the best one."""


class Training(Generic[Batch]):
    """One run: a model, what it learns, from what, and how far it has come."""

    def __init__(
        self,
        model: nn.Module,
        task: Task[Batch],
        stream: Stream,
        holdout: Sequence[Sequence[Any]],
        settings: LoopSettings,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
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
        self.average = _Average(model, settings.average_decay) if settings.average_decay else None

    def run(self, folder: Path) -> Outcome:
        """Train to the last step, from the newest checkpoint in the folder if there is one."""
        started = time.monotonic()
        self.folder = folder
        self.resume()
        tracker = Tracker(folder, self.progress.step)
        meter = _Meter(self.progress.tokens)
        try:
            while self.progress.step < self.settings.steps and not self.is_over:
                meter.add(*self.step())
                self.after_step(tracker, meter)
        finally:
            tracker.close()
        self.take_best()
        done = self.progress
        return Outcome(done.step, done.tokens, done.best_step, done.best_loss, time.monotonic() - started)

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.settings.patience <= self.progress.worse

    def step(self) -> tuple[int, dict[str, Tensor]]:
        """One optimizer step; returns its targets and the sums of its metrics."""
        settings, step = self.settings, self.progress.step
        batches = [self.batch(step, number) for number in range(settings.accumulate)]
        targets = sum(batch.targets for batch in batches)
        rate = settings.schedule.rate(step, settings.steps)
        set_rate(self.optimizers, rate)
        self.model.train()
        sums: dict[str, Tensor] = {}
        for batch in batches:
            with self.autocast():
                loss, metrics = self.task.loss(self.model, batch.to(self.device))
            # Divided by the targets of all batches: the gradient is that of one large batch, however they are cut.
            (loss / max(1, targets)).backward()
            _add(sums, {"loss": loss.detach(), **metrics})
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm or float("inf"))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)
        self.progress.step += 1
        self.progress.tokens += sum(batch.size for batch in batches)
        return targets, {**sums, "gradient_norm": norm * targets}

    def batch(self, step: int, number: int) -> Batch:
        """The next batch of the stream; its random part follows from seed, step and number."""
        generator = np.random.default_rng([self.settings.seed, _TRAINING, step, number])
        return self.task.collate(next(self.stream), generator)

    def after_step(self, tracker: Tracker, meter: "_Meter") -> None:
        """What is due after a step: a line of metrics, an evaluation, a checkpoint."""
        settings, done = self.settings, self.progress
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
            if values["loss"] < done.best_loss:
                done.best_step, done.best_loss, done.worse = done.step, values["loss"], 0
                state.save(
                    {"model": self.model.state_dict(), "step": done.step},
                    self.folder / state.FOLDER / state.BEST,
                )
            else:
                done.worse += 1

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Loss, perplexity and metrics per target on the hold-out; the same targets at every call."""
        self.model.eval()
        sums: dict[str, Tensor] = {}
        targets = 0
        for number, records in enumerate(self.holdout):
            generator = np.random.default_rng([self.settings.seed, _EVALUATION, number])
            batch = self.task.collate(records, generator)
            with self.autocast():
                loss, metrics = self.task.loss(self.model, batch.to(self.device))
            _add(sums, {"loss": loss, **metrics})
            targets += batch.targets
        values = {name: float(total) / max(1, targets) for name, total in sums.items()}
        return {
            "loss": values.pop("loss"),
            "perplexity": perplexity(float(sums["loss"]) / max(1, targets)),
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
            "average": self.average.weights if self.average else None,
        }
        current = state.training_state(self.model, self.optimizers, **others)
        state.save(current, state.checkpoint_path(self.folder, self.progress.step))
        state.remove_old(self.folder, self.settings.keep_checkpoints)

    def resume(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        path = state.latest(self.folder)
        if path is None:
            return
        stored = state.load(path, self.device)
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
            self.average.weights = stored["average"]

    def take_best(self) -> None:
        """Give the model the weights that were best on the hold-out, or without one the average, if there is any."""
        if self.progress.best_step:
            self.model.load_state_dict(
                state.load(self.folder / state.FOLDER / state.BEST, self.device)["model"]
            )
        elif self.average is not None:
            self.model.load_state_dict(self.average.weights)

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
    stream: Stream,
    holdout: Sequence[Sequence[Any]],
    settings: LoopSettings,
    folder: Path,
    identity: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train a model in place; afterwards it has the weights with the best loss on the hold-out.

    The same call on the same folder goes on where it stopped, and the losses are those of a run that never stopped.
    `identity` is what else must be equal for that: UsageError names what is not.
    """
    (folder / state.FOLDER).mkdir(parents=True, exist_ok=True)
    return Training(model, task, stream, holdout, settings, identity).run(folder)


def _decisive(settings: LoopSettings) -> dict[str, Any]:
    """The settings that the steps so far depend on."""
    names = ("seed", "accumulate", "precision", "clip_norm", "average_decay", "optimizer")
    return {f"training.{name}": value for name, value in asdict(settings).items() if name in names}


class _Meter:
    """Sums since the last line of metrics."""

    def __init__(self, tokens: int) -> None:
        self._start(tokens)

    def _start(self, tokens: int) -> None:
        self._targets = 0
        self._sums: dict[str, Tensor] = {}
        self._tokens = tokens
        self._since = time.monotonic()

    def add(self, targets: int, sums: dict[str, Tensor]) -> None:
        """Count one step."""
        self._targets += targets
        _add(self._sums, sums)

    def take(self, tokens: int) -> dict[str, float]:
        """Means per target since the last call, and tokens per second."""
        values = {name: float(total) / max(1, self._targets) for name, total in self._sums.items()}
        speed = (tokens - self._tokens) / max(1e-9, time.monotonic() - self._since)
        self._start(tokens)
        return {**values, "tokens_per_second": round(speed)}


class _Average:
    """Running average of the weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model."""
        for name, tensor in model.state_dict().items():
            self.weights[name].lerp_(tensor, 1 - self.decay)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights, for as long as the block lasts."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(own)


def _add(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value
