"""A request on an idle server has all cores; in a crowd each core has a batch of its own."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from chaperonin.models.esm import ESM
from chaperonin.serving.batcher import Item
from chaperonin.serving.metrics import Metrics
from chaperonin.serving.models import Models, Served
from chaperonin.serving.passes import compute
from chaperonin.serving.settings import ServeSettings
from chaperonin.serving.worker import Worker


def drawn(lengths: Sequence[int], seed: int = 0, **more: str) -> list[Item]:
    draw = np.random.default_rng(seed)
    return [Item(draw.integers(4, 24, length + 2), "vectors", **more) for length in lengths]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Of each pass: the thread it ran on, and its tokens."""
    seen = []

    def watch(models: Models, items: Sequence[Item]) -> list[np.ndarray]:
        seen.append((threading.current_thread().name.rstrip("_0123456789"), sum(item.cost for item in items)))
        return compute(models, items)

    monkeypatch.setattr("chaperonin.serving.worker.compute", watch)
    return seen


@pytest.fixture
def worker(bundled: ESM) -> Iterator[Worker]:
    owner = ThreadPoolExecutor(1, "model", torch.set_num_threads, (2,))
    worker = Worker(Models(bundled, Served("x")), ServeSettings(), Metrics(), owner)
    worker.rate, worker._core_rate = 2e4, 1e4
    worker._working = owner.submit(worker._work)
    yield worker
    worker.stop()


def asked(worker: Worker, requests: Sequence[Sequence[Item]]) -> None:
    """All requests at once, each by a client of its own."""

    async def all_of_them() -> None:
        await asyncio.gather(*(worker.run(items, str(n)) for n, items in enumerate(requests)))

    asyncio.run(all_of_them())


def test_a_single_request_has_all_cores(worker: Worker, passes: list[tuple[str, int]]) -> None:
    asked(worker, [drawn([300])])
    assert passes == [("model", 302)]


def test_a_crowd_has_a_pass_on_each_core_and_everybody_gets_their_own(
    worker: Worker, passes: list[tuple[str, int]], bundled: ESM
) -> None:
    lengths = [int(length) for length in np.random.default_rng(3).integers(20, 400, 60)]
    requests = [drawn(lengths[n : n + 3], seed=n) for n in range(0, 60, 3)]  # requests span batches
    asked(worker, requests)
    assert sum(tokens for _, tokens in passes) == sum(lengths) + 120
    on_cores = [tokens for thread, tokens in passes if thread == "core"]
    assert sum(on_cores) > 0.5 * sum(lengths) and max(on_cores) <= 1024
    for items in requests:
        for item in items:
            (alone,) = compute(Models(bundled, Served("x")), [Item(item.tokens, "vectors")])
            np.testing.assert_allclose(item.result, alone, atol=1e-5)  # sums in another order


def test_an_item_that_fails_on_a_core_fails_alone(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(models: Models, items: Sequence[Item]) -> list[np.ndarray]:
        if any(item.cost == 333 for item in items):
            raise MemoryError
        return compute(models, items)

    monkeypatch.setattr("chaperonin.serving.worker.compute", fail)
    requests = [drawn([200]) for _ in range(20)]
    requests[7] = drawn([331])

    async def all_of_them() -> list[object]:
        waited = (worker.run(items, str(n)) for n, items in enumerate(requests))
        return await asyncio.gather(*waited, return_exceptions=True)

    results = asyncio.run(all_of_them())
    assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [7]


def test_an_answer_leaves_nothing_behind(worker: Worker) -> None:
    requests = [drawn([20 + 9 * n], seed=n) for n in range(40)]
    asked(worker, requests)
    left = [weakref.ref(own) for (item,) in requests for own in (item.result, item.ticket)]
    assert all(own() is not None for own in left)
    del requests
    asked(worker, [drawn([20]), drawn([400]), drawn([400])])  # the threads hold what they did last
    gc.collect()
    assert [own() for own in left if own() is not None] == []


def test_large_models_and_few_threads_share_every_pass(worker: Worker) -> None:
    assert worker._core_tokens == 1024
    worker._core_rate = 1.5e3
    assert worker._core_tokens == 0


def test_cores_that_hinder_each_other_do_not_keep_a_crowd_from_them(worker: Worker) -> None:
    for _ in range(50):
        worker._learn(2e3, on_core=False)  # on a busy machine a shared pass takes many times as long
    assert worker.rate < 2.1e3 and worker._core_tokens == 1024
    for _ in range(50):
        worker._learn(1e3, on_core=True)
    assert worker._core_tokens == 0
    for _ in range(50):
        worker._learn(1e4, on_core=False)
    assert worker._core_tokens == 1024
