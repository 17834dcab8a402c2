"""Passes through the model: items of many requests in one packed stream; and the cores that may each run one."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.data.batching import Batch, fill_up, make_batch
from chaperonin.kernels.cores import core_threads
from chaperonin.protein.variant import RESIDUES
from chaperonin.serving.batcher import Item
from chaperonin.serving.models import Models

_STEP = 16
"""Numbers of tokens are multiples of this, of larger batches of more: at most one part in 32 is added."""


class Cores:
    """Threads that each compute alone, one for each processor core, and work that waits; one thread may call this."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = core_threads(count)
        self._running: set[Future[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether one of them works."""
        return any(not future.done() for future in self._running)

    def wait_for_one(self) -> None:
        """Until there is room for one more: what each of them does, and one more, so that none has to wait for work."""
        while len(self._running) > self.count:
            self._running -= wait(self._running, return_when=FIRST_COMPLETED).done

    def start(self, work: Callable[[], None]) -> None:
        """Let the next one that is free do it, once there is room."""
        self.wait_for_one()
        self._running.add(self._pool.submit(work))

    def finish(self) -> None:
        """Wait until all of them are free."""
        wait(self._running)

    def stop(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def compute(models: Models, items: Sequence[Item]) -> list[NDArray[Any]]:
    """Results of items in one pass, in their order."""
    if items[0].wanted == "text":
        return models.text_reader.read([item.tokens for item in items])
    # Equal lengths side by side: their attention is one dense product.
    order = sorted(range(len(items)), key=lambda number: items[number].cost)
    ordered = [items[number] for number in order]
    maps_wanted = ordered[0].wanted == "contacts"
    batch = make_batch([item.tokens for item in ordered]).to(models.device)
    adapters = [item.adapter for item in ordered]
    if not maps_wanted:
        step = _step(batch.segments.total)
        batch = Batch(*fill_up(batch.tokens, batch.segments, step, models.base.alphabet.pad))
        adapters += [None] * (len(batch.segments) - len(items))
    with torch.inference_mode(), models.selected(adapters, batch.segments):
        if maps_wanted:
            maps = models.base.contacts(batch.tokens, batch.segments)
            found = [own.float().cpu().numpy() for own in maps]
        else:
            found = _read(models, ordered, batch, models.base(batch.tokens, batch.segments))
    results: list[NDArray[Any]] = [np.empty(0)] * len(items)
    for number, result in zip(order, found, strict=True):
        results[number] = result
    return results


def _step(tokens: int) -> int:
    """What the tokens of a batch are made a multiple of: the CPU compiles a product for every number of rows."""
    return max(_STEP, 1 << max(0, tokens.bit_length() - 6))


def _read(models: Models, items: Sequence[Item], batch: Batch, hidden: torch.Tensor) -> list[NDArray[Any]]:
    rows = hidden.float().cpu().numpy() if any(item.wanted == "vectors" for item in items) else None
    tables = iter(_log_probabilities(models, items, batch, hidden))
    found = []
    for item, start in zip(items, batch.segments.starts, strict=False):
        if item.wanted == "vectors":
            assert rows is not None
            # A copy: a slice would keep the whole batch in memory.
            own = rows[start : start + item.cost]
            found.append(models.base.alphabet.whole_first(own).copy())
        else:
            found.append(next(tables))
    return found


def _log_probabilities(
    models: Models, items: Sequence[Item], batch: Batch, hidden: torch.Tensor
) -> list[NDArray[Any]]:
    """`[rows, 25]` of each item that wants them, normalised over all 33 tokens: the head sees only these rows."""
    starts = zip(items, batch.segments.starts, strict=False)
    wanted = [start + item.rows for item, start in starts if item.rows is not None]
    if not wanted:
        return []
    rows = torch.from_numpy(np.concatenate(wanted)).to(hidden.device)
    columns = torch.from_numpy(models.base.alphabet.indices(RESIDUES)).to(hidden.device)
    table = models.base.lm_head(hidden[rows]).float().log_softmax(dim=-1)[:, columns].cpu().numpy()
    return [part.copy() for part in np.split(table, np.cumsum([len(own) for own in wanted])[:-1])]
