"""What a pre-training of a ProtST will take, before it begins: parameters, tokens, memory, time.

Time comes from a few steps with a model that is thrown away. Memory comes from one more batch, the largest of the run,
which is really computed: how large its tensors are depends on what is filled up and what is hidden.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import torch

from chaperonin.data.pairs import Pair, PairStream
from chaperonin.data.stream import ENDS
from chaperonin.kernels.hardware import held_bytes
from chaperonin.models.protst import ProtST, ProtSTConfig
from chaperonin.parallel.data import Processes
from chaperonin.training.alignment import Alignment, Pairs, new_training, training_stream
from chaperonin.training.forecast import Forecast, seconds_per_token, there_and_back
from chaperonin.training.tensor_memory import settles, taken_bytes


def forecast_alignment(
    settings: Alignment, pairs: Pairs, device: torch.device, processes: Processes | None = None
) -> Forecast:
    """Take a few steps, and measure them; every process of a run has to, and each foresees its own memory."""
    loop = settings.training
    settles(loop, 0, device)
    before = held_bytes(device)
    training = new_training(settings, pairs, device, processes)
    model, stream = training.model, training_stream(settings, pairs)
    assert isinstance(model, ProtST)
    ahead = look_ahead(stream, loop.steps * loop.accumulate, model.config)
    seconds = ahead.tokens * seconds_per_token(training)
    taken = taken_bytes(model, there_and_back(training, ahead.largest))
    memory_bytes = taken + held_bytes(device) - before
    return Forecast(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        examples=len(pairs.training),
        held_out=len(pairs.holdout),
        tokens=ahead.tokens,
        epochs=ahead.epochs,
        memory_bytes=memory_bytes,
        tight=settles(loop, memory_bytes, device),
        seconds=seconds,
        kind="pairs",
    )


@dataclass(frozen=True)
class Ahead:
    """All batches of a run."""

    tokens: int
    """Of the proteins."""
    epochs: float
    largest: list[Pair]
    """The batch that the two towers have most to do with."""


def look_ahead(stream: PairStream, batches: int, config: ProtSTConfig) -> Ahead:
    """Lengths of all batches, in the order in which the stream draws them."""
    assert config.text is not None
    of_residue = config.protein.width * config.protein.depth
    of_word = config.text["hidden_size"] * config.text["num_hidden_layers"]
    residues = np.minimum(stream.sequences.lengths, stream.window) + ENDS
    words = np.array([len(own) for own in stream.words]) + ENDS
    tokens = most = 0
    largest: list[Pair] = []
    per_epoch = len(stream.order(0))
    for epoch in range(ceil(batches / per_epoch)):
        order = stream.order(epoch)[: batches - epoch * per_epoch]
        tokens += int(residues[order].sum())
        # Texts are filled up to the longest of the batch.
        costs = of_residue * residues[order].sum(1) + of_word * stream.pairs * words[order].max(1)
        if costs.max() > most:
            most = costs.max()
            largest = [stream.pair(int(number), epoch) for number in order[costs.argmax()]]
    return Ahead(tokens, batches * stream.pairs / len(residues), largest)
