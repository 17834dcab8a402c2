"""What a pre-training run will take, before it begins: parameters, tokens, memory, time."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chaperonin.tasks.masked_language import MaskedLanguage
from chaperonin.training.loop import Training
from chaperonin.training.pretrain import Corpus, Pretraining, new_model, training_stream

_PROBE_STEPS = 3


@dataclass(frozen=True)
class Forecast:
    """What a run will take on this machine."""

    parameters: int
    sequences: int
    """That train; the others are held out."""
    held_out: int
    tokens: int
    """All that will go through the model."""
    epochs: float
    memory_bytes: int
    """Weights, gradients, optimizer and one batch, besides what the process holds already."""
    seconds: float
    """At the speed of a few steps, without evaluations."""

    def __str__(self) -> str:
        return (
            f"parameters            {self.parameters:,}\n"
            f"sequences             {self.sequences:,} train, {self.held_out:,} are held out\n"
            f"tokens                {self.tokens:,} ({self.epochs:.2f} passes over one crop of each sequence)\n"
            f"memory, predicted     {self.memory_bytes / 1e6:,.0f} MB\n"
            f"time, at this speed   {self.seconds / 60:,.1f} min"
        )


def forecast(settings: Pretraining, corpus: Corpus, device: torch.device) -> Forecast:
    """Take a few steps with a model that is thrown away, and measure them."""
    model = new_model(settings, device)
    stream = training_stream(corpus, settings)
    training = Training(model, MaskedLanguage(), stream, [], settings.training)
    tokens_per_step = settings.training.accumulate * stream.batch_tokens
    batch_bytes = _saved_bytes(training)
    seconds = []
    for _ in range(_PROBE_STEPS):
        began = time.perf_counter()
        training.step()
        seconds.append(time.perf_counter() - began)
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    state_bytes = sum(_bytes_of(optimizer.state_dict()["state"]) for optimizer in training.optimizers)
    return Forecast(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        sequences=len(corpus.parts.training),
        held_out=len(corpus.parts.holdout),
        tokens=settings.training.steps * tokens_per_step,
        epochs=settings.training.steps * tokens_per_step / float(stream.lengths.sum()),
        memory_bytes=2 * trained + state_bytes + batch_bytes,
        seconds=settings.training.steps * min(seconds),
    )


def _saved_bytes(training: Training[Any]) -> int:
    """What a batch keeps for its backward pass, each storage counted once."""
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = training.batch(0, 0).to(training.device)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), training.autocast():
        loss, _ = training.task.loss(training.model, batch)
    del loss
    parameters = {parameter.untyped_storage().data_ptr() for parameter in training.model.parameters()}
    return sum(size for storage, size in seen.items() if storage not in parameters)


def _bytes_of(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(_bytes_of, state.values())) if isinstance(state, dict) else 0
