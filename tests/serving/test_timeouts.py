"""Requests that the model keeps waiting: 503 in time, and nothing of them stays behind."""

import asyncio
import threading
import time
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from chaperonin.serving import worker

ASKED = {"sequences": ["ACDEFGHIKL"]}


def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """From now on passes wait until this is set."""
    compute, event = worker.compute, threading.Event()

    def wait(*arguments: Any) -> Any:
        assert event.wait(60)
        return compute(*arguments)

    monkeypatch.setattr(worker, "compute", wait)
    return event


async def asked(client: TestClient) -> httpx.Response:
    transport = httpx.ASGITransport(client.app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as one:
        return await one.post("/v1/embed", json=ASKED)


def check(answer: httpx.Response, message: str) -> None:
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    body = answer.json()
    assert body["error_type"] == "timeout" and message in body["error"]


def works_again(client: TestClient) -> None:
    """Soon: these servers wait so shortly that a busy machine is too slow for them at times."""
    queue = client.app.state.parts.worker.queue  # type: ignore[attr-defined]
    assert queue.tokens == 0
    until = time.monotonic() + 20
    while (answer := client.post("/v1/embed", json=ASKED)).status_code != 200:
        assert answer.status_code == 503 and time.monotonic() < until
        time.sleep(0.1)


def test_who_waits_too_long_for_the_model_is_told_so_and_who_is_in_it_is_not(make, monkeypatch) -> None:
    client = make(queue_seconds=0.3)
    event = held(monkeypatch)

    async def two() -> tuple[httpx.Response, httpx.Response]:
        first = asyncio.ensure_future(asked(client))
        await asyncio.sleep(0.1)  # the model has it
        second = await asked(client)
        event.set()
        return await first, second

    first, second = asyncio.run(two())
    check(second, "waited too long for the model")
    assert first.status_code == 200
    works_again(client)


def test_who_is_in_the_model_too_long_is_told_so(make, monkeypatch) -> None:
    client = make(queue_seconds=0.1, compute_seconds=0.3)
    event = held(monkeypatch)
    check(asyncio.run(asked(client)), "took too long")
    event.set()
    works_again(client)
