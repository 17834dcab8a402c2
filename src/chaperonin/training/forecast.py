"""What a pre-training run will take, before it begins: parameters, tokens, memory, time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch

from chaperonin.errors import MemoryLimitError
from chaperonin.kernels.hardware import finish, free_bytes, held_bytes
from chaperonin.parallel.data import Processes
from chaperonin.training.architecture import count_parameters
from chaperonin.training.loop import Training
from chaperonin.training.pretrain import Corpus, Pretraining, new_model, new_task, training_stream
from chaperonin.training.tensor_memory import memory_text, peak_bytes, settles, taken_bytes
from chaperonin.training.tracking import duration

_PROBE_STEPS = 3
_STATE_BYTES = {"adamw": 16, "muon": 12}
"""Of each parameter, at least: its fp32 weight, its gradient, and two averages or one."""


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
    seconds: float | None
    """At the speed of a few steps, without evaluations; None where the model does not fit and no step was taken."""
    kind: str = "sequences"
    """What the examples are."""
    active: int | None = None
    """Parameters that one token goes through, where they are fewer."""
    processes: int = 1
    """That run it together; the memory is that of each."""

    def __str__(self) -> str:
        if self.seconds is None:
            memory = (
                f"{self.memory_bytes / 1e6:,.0f} MB for weights, gradients and optimizer: it does not fit"
            )
            time_text = "not measured"
        else:
            memory, time_text = memory_text(self.memory_bytes, self.tight), duration(self.seconds)
        if self.processes > 1:
            memory += f", in each of {self.processes} processes"
        active = f", of which a token goes through {self.active:,}" if self.active is not None else ""
        return (
            f"parameters            {self.parameters:,}{active}\n"
            f"{self.kind:<22}{self.examples:,} train, {self.held_out:,} are held out\n"
            f"tokens                {self.tokens:,} ({self.epochs:.2f} passes over one crop of each sequence)\n"
            f"memory, predicted     {memory}\n"
            f"time, at this speed   {time_text}"
        )


def forecast(
    settings: Pretraining, corpus: Corpus, device: torch.device, processes: Processes | None = None
) -> Forecast:
    """Take a few steps with a model that is thrown away, and measure them.

    Memory is what the process then holds more than before, and what the shapes of a batch say that a step takes. A
    model that cannot fit is not built: its parameters are counted without numbers. Of several processes each has to
    call it.
    """
    processes = processes or Processes()
    one_pass = float(training_stream(corpus, settings).lengths.sum())
    tokens = settings.training.steps * settings.training.accumulate * settings.data.batch_tokens
    parameters = count_parameters(settings.model)
    held = parameters.held(settings.expert_processes)
    memory_bytes, seconds, tight = _STATE_BYTES[settings.training.optimizer.method] * held, None, False
    if processes.from_first(memory_bytes <= free_bytes(device)):
        memory_bytes, per_token, tight = _tried(settings, corpus, device, processes)
        seconds = tokens * per_token
    return Forecast(
        parameters=parameters.total,
        examples=len(corpus.parts.training),
        held_out=len(corpus.parts.holdout),
        tokens=tokens,
        epochs=tokens / one_pass,
        memory_bytes=memory_bytes,
        tight=tight,
        seconds=seconds,
        active=parameters.active if parameters.active < parameters.total else None,
        processes=processes.world,
    )


def require_room(expected: Forecast, device: torch.device) -> None:
    """MemoryLimitError for a model that does not fit."""
    if expected.seconds is None:
        raise MemoryLimitError(
            f"{expected.parameters:,} parameters take {expected.memory_bytes / 1e9:,.1f} GB to train, "
            f"{free_bytes(device) / 1e9:,.1f} GB are free",
            where="model",
            advice="Take a machine with more memory, lower model.depth, model.width or model.experts, or let more "
            "processes share the experts (expert_processes).",
        )


def _tried(
    settings: Pretraining, corpus: Corpus, device: torch.device, processes: Processes
) -> tuple[int, float, bool]:
    """Bytes, seconds a token, and whether the memory will be kept to the bytes: by steps of a model."""
    settles(settings.training, 0, device)
    before = held_bytes(device)
    model = new_model(settings, device, processes)
    stream = training_stream(corpus, settings)
    task = new_task(settings, model)
    training = Training(model, task, stream, [], settings.training, processes=processes)
    seconds = seconds_per_token(training)
    # How many rows an expert gets stands in the tensors, so a step of a mixture is taken and not only imagined.
    bytes_of = taken_bytes if settings.is_mixture else peak_bytes
    memory_bytes = bytes_of(model, there_and_back(training, next(stream))) + held_bytes(device) - before
    return memory_bytes, seconds, settles(settings.training, memory_bytes, device)


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
