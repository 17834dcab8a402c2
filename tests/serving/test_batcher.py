"""The queue: fair, bounded in tokens, and free of what nobody waits for."""

import asyncio
from concurrent.futures import Future

import numpy as np
import pytest

from chaperonin.serving.batcher import Item, Ticket, TokenQueue, Turn
from chaperonin.serving.errors import Refusal

LOOP = asyncio.new_event_loop()
"""Makes the futures that requests wait for; here nobody does."""


def ticket(lengths: list[int], client: str = "a", wanted: str = "vectors") -> Ticket:
    items = [Item(np.zeros(length, np.int64), wanted) for length in lengths]  # type: ignore[arg-type]
    return Ticket(items, client, LOOP.create_future())


def take(queue: TokenQueue, budget: int = 100, most: int = 1000) -> list[Item]:
    batch = queue.take(lambda: budget, most)
    assert isinstance(batch, list)
    return batch


def test_a_batch_holds_the_oldest_and_what_fits_beside_it() -> None:
    queue = TokenQueue(10_000)
    queue.put(ticket([60, 70, 30, 10]), 1.0)
    assert [item.cost for item in take(queue)] == [60, 30, 10]
    assert [item.cost for item in take(queue)] == [70]
    assert queue.tokens == 0


def test_an_item_above_the_budget_runs_alone() -> None:
    queue = TokenQueue(10_000)
    queue.put(ticket([500, 5]), 1.0)
    assert [item.cost for item in take(queue)] == [500]


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    queue = TokenQueue(1000)
    queue.put(ticket([900]), 100.0)
    with pytest.raises(Refusal) as refused:
        queue.put(ticket([200]), 100.0)
    assert refused.value.status == 429
    assert refused.value.headers["retry-after"] in ("9", "10")
    queue.put(ticket([100]), 100.0)


def test_a_client_with_much_waits_for_itself() -> None:
    queue = TokenQueue(100_000)
    queue.put(ticket([100] * 50, "greedy"), 1.0)
    take(queue)
    small = ticket([100], "modest")
    queue.put(small, 1.0)
    order = [item.ticket.client for _ in range(3) for item in take(queue)]
    assert "modest" in order


def test_nobody_starves_behind_a_stream_of_small_ones() -> None:
    queue = TokenQueue(100_000)
    large = ticket([90], "large")
    queue.put(ticket([20], "small"), 1.0)
    queue.put(large, 1.0)
    served = []
    for _ in range(10):
        queue.put(ticket([20], "small"), 1.0)
        served += [item.ticket for item in take(queue)]
    assert large in served[:8]


def test_what_nobody_waits_for_is_not_taken() -> None:
    queue = TokenQueue(1000)
    gone, stays = ticket([400]), ticket([50])
    queue.put(gone, 1.0)
    queue.put(stays, 1.0)
    gone.future.cancel()
    queue.drop(gone)
    assert queue.tokens == 50
    assert [item.ticket for item in take(queue)] == [stays]
    assert queue.tokens == 0


def test_a_request_that_leaves_in_the_middle_frees_only_what_waits() -> None:
    queue = TokenQueue(1000)
    long = ticket([80, 80, 80])
    queue.put(long, 1.0)
    take(queue)
    assert queue.tokens == 160
    long.future.cancel()
    queue.drop(long)
    assert queue.tokens == 0
    queue.close()
    assert queue.take(lambda: 100, 10) is None


def test_contact_maps_have_batches_of_their_own() -> None:
    queue = TokenQueue(1000)
    queue.put(ticket([10]), 1.0)
    queue.put(ticket([10], wanted="contacts"), 1.0)
    queue.put(ticket([10]), 1.0)
    assert [item.wanted for item in take(queue)] == ["vectors", "vectors"]
    assert [item.wanted for item in take(queue)] == ["contacts"]


def test_work_of_jobs_waits_for_requests_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = TokenQueue(1000)
    future: Future[int] = queue.between(lambda: 1)
    queue.put(ticket([10]), 1.0)
    take(queue)
    turn = queue.take(lambda: 100, 10)
    assert isinstance(turn, Turn) and turn.future is future
    queue.between(lambda: 2)
    queue.put(ticket([10]), 1.0)
    monkeypatch.setattr("chaperonin.serving.batcher._PATIENCE_SECONDS", 0.0)
    assert isinstance(queue.take(lambda: 100, 10), Turn)


def test_without_company_each_item_runs_alone() -> None:
    queue = TokenQueue(1000)
    queue.put(ticket([10, 10]), 1.0)
    assert len(take(queue, most=1)) == 1
