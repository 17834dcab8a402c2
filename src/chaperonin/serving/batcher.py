"""Work that waits for the model: bounded in tokens, fair between clients, dropped when nobody waits for it any more."""

import asyncio
import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.serving.errors import Refusal

Wanted = Literal["vectors", "log_probabilities", "contacts", "text"]
"""What is read of a pass: vectors `[length + 1, width]` of `<cls>` and the residues; log-probabilities of the 25
residues at some rows; the map of contacts `[length, length]`; or, of word pieces, the vector of a text."""
OWN_BATCH = ("contacts", "text")
"""What goes through the model with its own kind only."""

_PASSED_OVER = 32
"""Items that do not fit beside the others, after which a batch is full enough."""
_PATIENCE_SECONDS = 2.0
"""How long the work of a job lets requests go first."""


@dataclass(eq=False, slots=True)
class Item:
    """One sequence of tokens with its ends, or the word pieces of a text, and what is wanted of it."""

    tokens: NDArray[np.int64]
    wanted: Wanted
    adapter: str | None = None
    rows: NDArray[np.int64] | None = None
    """Tokens whose log-probabilities are wanted."""
    ticket: "Ticket" = field(init=False)
    result: NDArray[Any] = field(init=False)

    @property
    def cost(self) -> int:
        """Tokens."""
        return len(self.tokens)


class Ticket:
    """The items of one request. Its future is done when all of them are, or one has failed; the event loop ends it."""

    def __init__(self, items: Sequence[Item], client: str, future: "asyncio.Future[None]") -> None:
        self.items = items
        self.client = client
        self.future = future
        self.tokens = sum(item.cost for item in items)
        self.waiting_tokens = self.tokens
        """Of items that no batch has taken."""
        self.queued_at = time.monotonic()
        self.started_at: float | None = None
        self._left = len(items)
        for item in items:
            item.ticket = self

    def finish(self, item: Item, result: NDArray[Any]) -> None:
        """Keep the result of an item; the last one ends the request."""
        item.result = result
        self._left -= 1
        if self._left == 0 and not self.future.done():
            self.future.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the request, unless its client went away or waited long enough already."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass
class Turn:
    """Work of a job, to be done between batches of requests."""

    work: Callable[[], Any]
    future: "Future[Any]" = field(default_factory=Future)
    asked_at: float = field(default_factory=time.monotonic)


class TokenQueue:
    """Items in a fair order; requests come from the event loop, batches go to the worker.

    Order: each client's tokens are stamped one after the other, starting from the stamp that is served now, and the
    smallest stamp goes first (start-time fair queueing, Goyal et al. 1997). A client with a long queue so waits for
    itself, and nobody waits for ever.
    """

    def __init__(self, capacity: int, max_wait_seconds: float = 0.0) -> None:
        self.capacity = capacity
        self.tokens = 0
        """Tokens that wait."""
        self._max_wait_seconds = max_wait_seconds
        self._heap: list[tuple[float, int, Item]] = []
        self._numbers = count()
        self._now = 0.0
        self._ends: dict[str, float] = {}
        self._turns: deque[Turn] = deque()
        self._changed = threading.Condition()
        self._shared = False
        """Whether the last batch served several requests: then company is likely."""
        self._closed = False

    def put(self, ticket: Ticket, rate: float) -> None:
        """Let a request wait; Refusal (429) when the queue is full. `rate`: tokens per second, for Retry-After."""
        with self._changed:
            # A request that fits alone is taken by an empty queue, however small the queue is.
            if self.tokens and self.tokens + ticket.tokens > self.capacity:
                raise Refusal(
                    429,
                    "overloaded",
                    f"{self.tokens:,} tokens wait already, and at most {self.capacity:,} may.",
                    retry_after=self.tokens / rate,
                )
            stamp = max(self._now, self._ends.get(ticket.client, 0.0))
            for item in ticket.items:
                heapq.heappush(self._heap, (stamp, next(self._numbers), item))
                stamp += item.cost
            self._ends[ticket.client] = stamp
            self.tokens += ticket.tokens
            self._changed.notify()

    def drop(self, ticket: Ticket) -> None:
        """Forget the items of a request that no batch has taken yet; its future is done or cancelled already."""
        with self._changed:
            self.tokens -= ticket.waiting_tokens
            ticket.waiting_tokens = 0

    def between(self, work: Callable[[], Any]) -> "Future[Any]":
        """Let the worker do something between batches; jobs, and changes of the model, come this way."""
        turn = Turn(work)
        with self._changed:
            if self._closed:
                turn.future.cancel()
            self._turns.append(turn)
            self._changed.notify()
        return turn.future

    def take(self, budget: Callable[[], int], most: int) -> list[Item] | Turn | None:
        """The next batch of at most `budget` tokens and `most` items, the next turn, or None after the end."""
        with self._changed:
            while True:
                self._forget_dropped()
                if self._turns and (not self._heap or self._overdue()):
                    return self._turns.popleft()
                if self._heap:
                    self._wait_for_company(budget(), most)
                    batch = self._batch(budget(), most)
                    if batch:
                        return batch
                elif self._closed:
                    return None
                else:
                    self._changed.wait()

    def close(self) -> None:
        """End `take` once nothing waits; turns that wait are cancelled."""
        with self._changed:
            self._closed = True
            while self._turns:
                self._turns.popleft().future.cancel()
            self._changed.notify_all()

    def _overdue(self) -> bool:
        return time.monotonic() - self._turns[0].asked_at > _PATIENCE_SECONDS

    def _wait_for_company(self, budget: int, most: int) -> None:
        """While requests come thick, a moment's wait makes a fuller batch; the first one after a pause goes at once."""
        if not self._shared or most == 1:
            return
        end = time.monotonic() + self._max_wait_seconds
        while self.tokens < budget and not self._closed:
            left = end - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _batch(self, budget: int, most: int) -> list[Item]:
        """The first item and what fits beside it; contact maps and texts have batches of their own."""
        batch: list[Item] = []
        passed: list[tuple[float, int, Item]] = []
        tokens = 0
        while self._heap and len(batch) < most and len(passed) < _PASSED_OVER and tokens < budget:
            entry = heapq.heappop(self._heap)
            item = entry[2]
            if item.ticket.future.done():
                continue
            if batch and (tokens + item.cost > budget or _kind(item) != _kind(batch[0])):
                passed.append(entry)
                continue
            if not batch:
                self._now = max(self._now, entry[0])
            batch.append(item)
            tokens += item.cost
        for entry in passed:
            heapq.heappush(self._heap, entry)
        self._taken(batch)
        return batch

    def _taken(self, batch: list[Item]) -> None:
        now = time.monotonic()
        for item in batch:
            ticket = item.ticket
            if ticket.started_at is None:
                ticket.started_at = now
            if ticket.waiting_tokens:  # else it was dropped at this moment
                ticket.waiting_tokens -= item.cost
                self.tokens -= item.cost
        self._shared = len({item.ticket for item in batch}) > 1
        if not self._heap:  # nobody waits: everybody starts equal again
            self._ends.clear()
            self._now = 0.0

    def _forget_dropped(self) -> None:
        while self._heap and self._heap[0][2].ticket.future.done():
            heapq.heappop(self._heap)


def _kind(item: Item) -> str:
    return item.wanted if item.wanted in OWN_BATCH else ""
