"""The one thread that owns the model: takes batches, runs them on all cores or has each core run one.

A request on an idle server has all cores, which is soonest. In a crowd each core has a batch of its own, which is most.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray

from chaperonin.errors import ChaperoninError, MemoryLimitError
from chaperonin.inference.memory import batch_tokens
from chaperonin.inference.run import is_out_of_memory
from chaperonin.parallel.cores import CORE_TOKENS
from chaperonin.serving.batcher import OWN_BATCH, Item, Ticket, TokenQueue, Turn
from chaperonin.serving.errors import Refusal
from chaperonin.serving.metrics import Metrics
from chaperonin.serving.models import Models
from chaperonin.serving.passes import Cores, compute
from chaperonin.serving.settings import ServeSettings

log = logging.getLogger(__name__)

_BATCH_TOKENS = 2048
"""More in a batch gains nothing on a processor, and others wait for it."""
_BATCH_SECONDS = 0.25
"""How long a batch should take: a large model gets smaller ones."""
_FEWEST_TOKENS = 256


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
        self._core_rate = 0.0
        """Tokens per second of one core by itself, as measured. Cores that share each product wait for one another: on
        a busy machine that is no measure of what each does alone."""
        self._most_tokens = min(batch_tokens(models.base, settings.batch_tokens), _most(models, settings))
        self._owner = owner
        self._cores = Cores(owner.submit(torch.get_num_threads).result() if _on_cpu(models) else 1)
        self._working: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        """Where requests wait; known with the first of them."""

    def start(self) -> None:
        """Measure the rate, which also compiles what is compiled on first use, and begin."""
        for length in (64, 256, 64):
            self.rate = self._owner.submit(self._measured_rate, length).result()
        if self._cores.count > 1:
            self._cores.start(self._measure_core)
            self._cores.finish()
        self._working = self._owner.submit(self._work)

    def stop(self) -> None:
        """End when nothing waits any more, and wait for that."""
        self.queue.close()
        if self._working is not None:
            self._working.result()
        self._cores.stop()
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
        self._loop = loop = asyncio.get_running_loop()
        ticket = Ticket(items, client, loop.create_future())
        limits = self.settings.limits
        if not items:
            return ticket
        self.queue.put(ticket, self.rate)
        timers = [
            loop.call_later(limits.queue_seconds, self._expire, ticket, True),
            loop.call_later(limits.compute_seconds, self._expire, ticket, False),
        ]
        try:
            await ticket.future
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

    def _measure_core(self) -> None:
        self._core_rate = self._measured_rate(256)

    def _measured_rate(self, length: int) -> float:
        alphabet = self.models.base.alphabet
        items = [Item(alphabet.encode("A" * (length - 2)), "vectors") for _ in range(max(1, 512 // length))]
        start = time.perf_counter()
        compute(self.models, items)
        return sum(item.cost for item in items) / (time.perf_counter() - start)

    def _work(self) -> None:
        most = 1 << 30 if self.settings.batching else 1
        while (work := self.queue.take(self._share, most)) is not None:
            if isinstance(work, Turn):
                self._cores.finish()
                _do(work)
            elif self._is_crowded(sum(item.cost for item in work)) and _goes_on_a_core(work):
                self._cores.start(partial(self._compute, work, on_core=True))
                self._cores.wait_for_one()
            else:
                self._cores.finish()
                self._compute(work)
        self._cores.finish()

    def _share(self) -> int:
        """Tokens of the next batch."""
        return self._core_tokens if self._is_crowded(0) else self.budget

    @property
    def _core_tokens(self) -> int:
        """Tokens of one core's batch; 0 where there is one core, or a model so large that all of them share a pass."""
        tokens = min(self._most_tokens, _BATCH_TOKENS // 2, int(self._core_rate * _BATCH_SECONDS))
        return tokens if self.settings.batching and tokens >= CORE_TOKENS else 0

    def _is_crowded(self, taken: int) -> bool:
        """Whether there is enough for every core, with what was `taken` of it already."""
        enough = self._cores.count * CORE_TOKENS
        return self._core_tokens > 0 and (self._cores.busy or self.queue.tokens + taken >= enough)

    def _compute(self, items: list[Item], on_core: bool = False) -> None:
        """Run items and hand out the results; `on_core`: beside other passes, each on a core of its own."""
        start = time.perf_counter()
        try:
            results = compute(self.models, items)
        # Whatever it is, it is raised again where the request is answered, and the others go on.
        except Exception as error:
            self._recover(items, error)
            return
        seconds = time.perf_counter() - start
        tokens = sum(item.cost for item in items)
        if items[0].wanted != "text":  # another tower, at a speed of its own
            self._learn(tokens / seconds, on_core)
        self.metrics.batch(len(items), tokens, seconds)
        # Once for all of them: each call wakes the event loop, which takes the interpreter from who computes.
        self._loop.call_soon_threadsafe(_hand_out, items, results)

    def _learn(self, rate: float, on_core: bool) -> None:
        count = self._cores.count
        self.rate += 0.2 * ((count if on_core else 1) * rate - self.rate)
        if on_core:
            self._core_rate += 0.2 * (rate - self._core_rate)
        elif count > 1:  # alone it does its share at least
            self._core_rate = max(self._core_rate, self.rate / count)

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
        self._loop.call_soon_threadsafe(item.ticket.fail, error)


def _hand_out(items: Sequence[Item], results: Sequence[NDArray[Any]]) -> None:
    for item, result in zip(items, results, strict=True):
        item.ticket.finish(item, result)


def _on_cpu(models: Models) -> bool:
    return models.device.type == "cpu"


def _goes_on_a_core(items: Sequence[Item]) -> bool:
    """Adapters are put into the layers for one pass; a long sequence or a map of contacts has work for all cores."""
    return all(
        item.adapter is None and item.wanted not in OWN_BATCH and item.cost <= _BATCH_TOKENS for item in items
    )


def _do(turn: Turn) -> None:
    if not turn.future.set_running_or_notify_cancel():
        return
    try:
        turn.future.set_result(turn.work())
    except BaseException as error:  # it belongs to who asked for the turn
        turn.future.set_exception(error)


def _most(models: Models, settings: ServeSettings) -> int:
    """Tokens of a batch where nobody said how many: small enough that others do not wait long."""
    return settings.batch_tokens or (_BATCH_TOKENS if _on_cpu(models) else 16 * _BATCH_TOKENS)
