"""The one thread that owns the model: takes a batch, runs it, hands each item its part."""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chaperonin.data.batching import Batch, fill_up, make_batch
from chaperonin.errors import ChaperoninError, MemoryLimitError
from chaperonin.inference.memory import batch_tokens
from chaperonin.inference.run import is_out_of_memory
from chaperonin.protein.variant import RESIDUES
from chaperonin.serving.batcher import Item, Ticket, TokenQueue, Turn
from chaperonin.serving.errors import Refusal
from chaperonin.serving.metrics import Metrics
from chaperonin.serving.models import Models
from chaperonin.serving.settings import ServeSettings

log = logging.getLogger(__name__)

_BATCH_TOKENS = 2048
"""More in a batch gains nothing on a processor, and others wait for it."""
_BATCH_SECONDS = 0.25
"""How long a batch should take: a large model gets smaller ones."""
_FEWEST_TOKENS = 256
_STEP = 16
"""Numbers of tokens are multiples of this, of larger batches of more: at most one part in 32 is added."""


class Worker:
    """Runs batches until it is stopped; requests come in by `run`. `owner`: the thread that computes."""

    def __init__(
        self, models: Models, settings: ServeSettings, metrics: Metrics, owner: ThreadPoolExecutor
    ) -> None:
        self.models = models
        self.settings = settings
        self.metrics = metrics
        limits = settings.limits
        self.queue = TokenQueue(limits.queue_tokens, settings.max_wait_ms / 1e3)
        self.rate = 1e4
        """Tokens per second, as measured."""
        self._most_tokens = min(batch_tokens(models.base, settings.batch_tokens), _most(models, settings))
        self._owner = owner
        self._working: Future[None] | None = None

    def start(self) -> None:
        """Measure the rate, which also compiles what is compiled on first use, and begin."""
        for length in (64, 256, 64):
            self._owner.submit(self._measure, length).result()
        self._working = self._owner.submit(self._work)

    def stop(self) -> None:
        """End when nothing waits any more, and wait for that."""
        self.queue.close()
        if self._working is not None:
            self._working.result()
        self._owner.shutdown()

    @property
    def alive(self) -> bool:
        """Whether batches are run."""
        return self._working is not None and not self._working.done()

    @property
    def budget(self) -> int:
        """Tokens of a batch now."""
        return max(_FEWEST_TOKENS, min(self._most_tokens, int(self.rate * _BATCH_SECONDS)))

    async def run(self, items: Sequence[Item], client: str) -> Ticket:
        """Wait until all items have their results.

        Refusal: 429 when the queue is full, 503 when it takes too long. When the caller is cancelled, because its
        client has gone, what no batch has taken yet is dropped.
        """
        ticket = Ticket(items, client)
        limits = self.settings.limits
        if not items:
            return ticket
        self.queue.put(ticket, self.rate)
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(limits.queue_seconds, self._expire, ticket, True),
            loop.call_later(limits.compute_seconds, self._expire, ticket, False),
        ]
        try:
            await asyncio.wrap_future(ticket.future)
        finally:
            for timer in timers:
                timer.cancel()
            self.queue.drop(ticket)
        return ticket

    def _expire(self, ticket: Ticket, queued_only: bool) -> None:
        if queued_only and ticket.started_at is not None:
            return
        what = "waited too long for the model" if queued_only else "took too long"
        wait = self.queue.tokens / self.rate
        ticket.fail(Refusal(503, "timeout", f"The request {what}; try again later.", retry_after=wait))

    def _measure(self, length: int) -> None:
        alphabet = self.models.base.alphabet
        items = [Item(alphabet.encode("A" * (length - 2)), "vectors") for _ in range(max(1, 512 // length))]
        start = time.perf_counter()
        compute(self.models, items)
        self.rate = sum(item.cost for item in items) / (time.perf_counter() - start)

    def _work(self) -> None:
        most = 1 << 30 if self.settings.batching else 1
        while (work := self.queue.take(lambda: self.budget, most)) is not None:
            if isinstance(work, Turn):
                _do(work)
            else:
                self._compute(work)

    def _compute(self, items: list[Item]) -> None:
        start = time.perf_counter()
        try:
            results = compute(self.models, items)
        # Whatever it is, it is raised again where the request is answered, and the others go on.
        except Exception as error:
            self._recover(items, error)
            return
        seconds = time.perf_counter() - start
        tokens = sum(item.cost for item in items)
        self.rate += 0.2 * (tokens / seconds - self.rate)
        self.metrics.batch(len(items), tokens, seconds)
        for item, result in zip(items, results, strict=True):
            item.ticket.finish(item, result)

    def _recover(self, items: list[Item], error: Exception) -> None:
        """Half of the items at a time, so that memory suffices and one bad item fails alone."""
        if len(items) > 1:
            middle = len(items) // 2
            self._compute(items[:middle])
            self._compute(items[middle:])
            return
        (item,) = items
        if is_out_of_memory(error):
            error = MemoryLimitError(f"{item.cost:,} tokens need more memory than there is, even alone")
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        elif not isinstance(error, Refusal | ChaperoninError):
            log.error("a pass over %d tokens failed", item.cost, exc_info=error)
        item.ticket.fail(error)


def compute(models: Models, items: Sequence[Item]) -> list[NDArray[Any]]:
    """Results of items in one packed pass, in their order."""
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
            found.append(rows[start : start + item.cost - 1].copy())
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


def _do(turn: Turn) -> None:
    if not turn.future.set_running_or_notify_cancel():
        return
    try:
        turn.future.set_result(turn.work())
    except BaseException as error:  # it belongs to who asked for the turn
        turn.future.set_exception(error)


def _most(models: Models, settings: ServeSettings) -> int:
    """Tokens of a batch where nobody said how many: small enough that others do not wait long."""
    return settings.batch_tokens or (16 * _BATCH_TOKENS if models.device.type == "cuda" else _BATCH_TOKENS)
