"""What a pre-training run will take, before it begins: parameters, tokens, memory, time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch

from chaperonin.kernels.hardware import finish, held_bytes
from chaperonin.tasks.masked_language import MaskedLanguage
from chaperonin.training.loop import Training
from chaperonin.training.pretrain import Corpus, Pretraining, new_model, training_stream
from chaperonin.training.tensor_memory import memory_text, peak_bytes, settles
from chaperonin.training.tracking import duration

_PROBE_STEPS = 3


@dataclass(frozen=True)
class Forecast:
    """What a run will take on this machine."""

    parameters: int
    examples: int
    """That train; the others are held out."""
    held_out: int
    tokens: int
    """All that will go through the model."""
    epochs: float
    memory_bytes: int
    """Peak of weights, gradients, optimizer, one batch and libraries, besides what the process holds already."""
    tight: bool
    """Whether the memory will be kept to that."""
    seconds: float
    """At the speed of a few steps, without evaluations."""
    kind: str = "sequences"
    """What the examples are."""

    def __str__(self) -> str:
        return (
            f"parameters            {self.parameters:,}\n"
            f"{self.kind:<22}{self.examples:,} train, {self.held_out:,} are held out\n"
            f"tokens                {self.tokens:,} ({self.epochs:.2f} passes over one crop of each sequence)\n"
            f"memory, predicted     {memory_text(self.memory_bytes, self.tight)}\n"
            f"time, at this speed   {duration(self.seconds)}"
        )


def forecast(settings: Pretraining, corpus: Corpus, device: torch.device) -> Forecast:
    """Take a few steps with a model that is thrown away, and measure them.

    Memory is what the process then holds more than before, and what the shapes of a batch say that a step takes.
    """
    settles(settings.training, 0, device)
    before = held_bytes(device)
    model = new_model(settings, device)
    stream = training_stream(corpus, settings)
    training = Training(model, MaskedLanguage(), stream, [], settings.training)
    tokens = settings.training.steps * settings.training.accumulate * stream.batch_tokens
    seconds = tokens * seconds_per_token(training)
    memory_bytes = peak_bytes(model, there_and_back(training, next(stream))) + held_bytes(device) - before
    return Forecast(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        examples=len(corpus.parts.training),
        held_out=len(corpus.parts.holdout),
        tokens=tokens,
        epochs=tokens / float(stream.lengths.sum()),
        memory_bytes=memory_bytes,
        tight=settles(settings.training, memory_bytes, device),
        seconds=seconds,
    )


def seconds_per_token(training: Training[Any]) -> float:
    """The best of a few steps, which are taken."""
    best = inf
    for _ in range(_PROBE_STEPS):
        tokens, began = training.progress.tokens, time.perf_counter()
        training.step()
        finish(training.device)
        best = min(best, (time.perf_counter() - began) / (training.progress.tokens - tokens))
    return best


def there_and_back(training: Training[Any], records: Sequence[Any]) -> Callable[[], None]:
    """Forwards and backwards with one batch, twice if gradients of one meet those of the next."""
    batch = training.collate(records, 0, 0).to(training.device)
    batches = len(training.processes.share(training.settings.accumulate))

    def work() -> None:
        for _ in range(min(2, batches)):
            with training.autocast():
                loss, _ = training.task.loss(training.model, batch)
            loss.backward()

    return work
