"""What a fine-tuning will take, before it begins: trained numbers, tokens, memory, time.

Time comes from one small probe batch. Memory comes from the shapes of the largest batch of the run, which goes through
the real model with tensors that hold nothing, on top of what the process holds after the probe.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import nn

from chaperonin.data.stream import Place
from chaperonin.kernels.hardware import finish, held_bytes
from chaperonin.tasks.features import CHUNK_TOKENS
from chaperonin.tasks.items import FeatureItem, Item
from chaperonin.tasks.predictor import Predictor
from chaperonin.tasks.supervised import Supervised
from chaperonin.training.examples import cut
from chaperonin.training.finetune import (
    EVALUATION_TOKENS,
    new_predictor,
    new_task,
    new_training,
    training_examples,
)
from chaperonin.training.finetune_settings import FineTuning, planned
from chaperonin.training.loop import LoopSettings
from chaperonin.training.material import Material
from chaperonin.training.means import trainable_parameters
from chaperonin.training.precision import autocast_dtype
from chaperonin.training.tensor_memory import memory_text, own_bytes, peak_bytes, settles
from chaperonin.training.tracking import duration

_PROBE_TOKENS = 512
_ENDS = 2
_MEMORIES = 2
"""Numbers that AdamW keeps of each that is trained."""
_JUDGING_BYTES = 50_000_000
"""Libraries of the baselines, the figures and the report."""

_COMPILED_BYTES = 80_000_000
"""Products in bf16 that a CPU compiles for the lengths that come after the probe."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take on this machine."""

    trainable: int
    parameters: int
    examples: tuple[int, int, int]
    """Training, validation, test."""
    steps: int
    tokens: int
    """All that will go through the model while it trains."""
    memory_bytes: int
    """Peak of the process (of a GPU's tensors)."""
    tight: bool
    """Whether the memory will be kept to that."""
    seconds: float
    """At the speed of the probe, evaluations and the predictions at the end included."""

    def __str__(self) -> str:
        training, validation, test = self.examples
        share = 100 * self.trainable / self.parameters
        return (
            f"trained parameters    {self.trainable:,} of {self.parameters:,} ({share:.2g} %)\n"
            f"examples              {training:,} train, {validation:,} validate, {test:,} test\n"
            f"steps                 {self.steps:,} ({self.tokens:,} tokens)\n"
            f"memory, predicted     {memory_text(self.memory_bytes, self.tight)}\n"
            f"time, at this speed   {duration(self.seconds)}"
        )


def forecast(settings: FineTuning, material: Material, device: torch.device) -> Forecast:
    """Probe a model that is thrown away."""
    parts = material.splits[0]
    loop = planned(settings, len(parts.training))
    settles(loop, 0, device)
    predictor = new_predictor(settings, material, loop, device)
    task = new_task(settings, material, parts)
    trains = settings.means.method != "frozen"
    trained = predictor if trains else predictor.head
    run = _Run(settings, material, loop, device, predictor, task)
    forward_seconds, step_seconds = _seconds_per_token(run)
    lengths = np.array([len(item) for item in material.items]) + _ENDS
    epoch = int(np.minimum(lengths[parts.training], settings.window + _ENDS).sum())
    tokens = loop.steps * settings.batch_size / len(parts.training) * epoch if trains else 0
    evaluated = loop.steps // loop.evaluate_every * int(lengths[parts.validation].sum()) if trains else 0
    memory_bytes = _peak(run)
    head_seconds = 0.0 if trains else _head_seconds(run)
    return Forecast(
        trainable_parameters(trained),
        sum(own.numel() for own in predictor.parameters()),
        (len(parts.training), len(parts.validation), len(parts.test)),
        loop.steps,
        round(tokens),
        memory_bytes,
        settles(loop, memory_bytes, device),
        tokens * step_seconds + (evaluated + int(lengths.sum())) * forward_seconds + head_seconds,
    )


@dataclass(frozen=True)
class _Run:
    """A run that is foreseen, with the model it would begin with."""

    settings: FineTuning
    material: Material
    loop: LoopSettings
    device: torch.device
    predictor: Predictor
    task: Supervised

    @property
    def trained(self) -> nn.Module:
        """What the optimizer sees: of a frozen base the head alone."""
        return self.predictor.head if self.settings.means.method == "frozen" else self.predictor

    def autocast(self) -> AbstractContextManager[Any]:
        """As the loop computes its products."""
        dtype = autocast_dtype(self.loop.precision, self.device)
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)

    def collate(self, records: list[Any]) -> Any:
        """A batch on the device."""
        return self.task.collate(records).to(self.device)


def _peak(run: _Run) -> int:
    """Peak of the process, or of a GPU's tensors: while it trains, or when the result runs over all examples."""
    trained_bytes = 4 * trainable_parameters(run.trained)
    copies = _MEMORIES + (1 if run.loop.average_decay else 0)
    forward = peak_bytes(run.predictor, _evaluation(run))
    training = copies * trained_bytes + max(peak_bytes(run.trained, _step(run)), forward)
    compiles = run.device.type == "cpu" and autocast_dtype(run.loop.precision, run.device) is not None
    # Asked last: the foreseeing itself loads libraries, which the optimizer would load too.
    held = held_bytes(run.device) + (_COMPILED_BYTES if compiles else 0)
    return held + max(training, forward + _final_bytes(run))


def _step(run: _Run) -> Callable[[], None]:
    """Forwards and backwards with the largest batch, twice if gradients of one meet those of the next."""
    batch = run.collate(_largest_batch(run))

    def work() -> None:
        for _ in range(min(2, run.loop.accumulate)):
            with run.autocast():
                loss, _ = run.task.loss(run.trained, batch)
            loss.backward()

    return work


def _evaluation(run: _Run) -> Callable[[], None]:
    """Forwards alone, with as many of the longest examples as such a batch may hold."""
    records: list[Item] = []
    size = 0
    for item in sorted(run.material.items, key=len, reverse=True):
        records.append(cut(item, 0, run.settings.window, run.settings.task))
        size += len(records[-1]) + _ENDS
        if size + len(item) > EVALUATION_TOKENS:
            break
    batch = run.collate(records)

    def work() -> None:
        with torch.no_grad(), run.autocast():
            run.predictor(batch.tokens, batch.segments)

    return work


def _final_bytes(run: _Run) -> int:
    """What the run over all examples holds besides a batch: a plain base for the one that was trained, and results."""
    config = run.predictor.backbone.config
    plain = 4 * sum(own.numel() for own in run.predictor.backbone.parameters())
    lengths = [len(item) for item in run.material.items]
    vectors = 4 * config.width * min(CHUNK_TOKENS, sum(lengths))
    rows = {"pairs": sum(length * length for length in lengths), "residue": sum(lengths)}
    results = (
        3 * 8 * rows.get(run.settings.task, 0) * run.material.target.outputs
    )  # logits, probabilities, truth
    judging = 0 if run.device.type == "cuda" else _JUDGING_BYTES + vectors + results
    return plain - own_bytes(run.predictor) + judging


def _largest_batch(run: _Run) -> list[Any]:
    """The records of the largest of all batches, in the order in which the stream draws them."""
    settings, items = run.settings, run.material.items
    training = run.material.splits[0].training
    stream = training_examples(settings, items, run.material.splits[0], run.loop)
    wanted = run.loop.steps * settings.batch_size
    orders = []
    for epoch in range(ceil(wanted / len(training))):
        stream.place = Place(epoch)
        orders.append(stream.order)
    batches = training[np.concatenate(orders)[:wanted]].reshape(-1, stream.size)
    lengths = np.minimum([len(item) for item in items], settings.window)
    costs = lengths**2 if settings.task == "pairs" else lengths + _ENDS
    largest = batches[costs[batches].sum(axis=1).argmax()]
    chosen = [cut(items[int(number)], 0, settings.window, settings.task) for number in largest]
    chosen.sort(key=len, reverse=True)
    return chosen if settings.means.method != "frozen" else [_features(run, item) for item in chosen]


def _features(run: _Run, item: Item) -> FeatureItem:
    """What a frozen base will give for an example, in shape; one zero stands for all numbers."""
    width = run.predictor.backbone.config.width
    shape = (width,) if run.settings.task == "sequence" else (len(item), width)
    return FeatureItem(np.broadcast_to(np.float32(0), shape), item.target)


def _seconds_per_token(run: _Run) -> tuple[float, float]:
    """Of a forward pass, and of one there and back: the faster of two, after one in which kernels are compiled."""
    batch = run.collate(_examples(run.settings, run.material))
    taken: list[tuple[float, float]] = []
    for _ in range(3):
        begun = time.perf_counter()
        with run.autocast():
            loss, _ = run.task.loss(run.predictor, batch)
        loss.item()
        forward = time.perf_counter() - begun
        loss.backward()
        finish(run.device)
        taken.append((time.perf_counter() - begun, forward))
        run.predictor.zero_grad(set_to_none=True)
    step, forward = min(taken[1:])
    return forward / batch.size, step / batch.size


def _head_seconds(run: _Run) -> float:
    """Of all steps and evaluations of a head alone, by the fastest of a few."""
    features = [_features(run, item).features for item in run.material.items]
    training = new_training(run.settings, run.material, run.material.splits[0], run.predictor, features)
    seconds = run.loop.steps * _fastest(training.step, run.device)
    if training.holdout:
        seconds += run.loop.steps // run.loop.evaluate_every * _fastest(training.evaluate, run.device)
    return seconds


def _fastest(work: Callable[[], object], device: torch.device, repeats: int = 4) -> float:
    """Seconds, without what only the first time takes."""
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        finish(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _examples(settings: FineTuning, material: Material) -> list[Item]:
    """The first training examples, cut short, as many as a probe needs."""
    chosen: list[Item] = []
    size = 0
    for number in material.splits[0].training:
        chosen.append(cut(material.items[int(number)], 0, min(settings.window, _PROBE_TOKENS), settings.task))
        size += len(chosen[-1])
        if size >= _PROBE_TOKENS:
            break
    return chosen
