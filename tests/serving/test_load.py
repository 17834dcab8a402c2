"""A crowd at the door: nobody is lost, nothing grows."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
from tests.serving.load import Tally, press
from tests.serving.running import Running, running

pytestmark = pytest.mark.alone

CLIENTS, SECONDS = 200, 30.0


def test_two_hundred_clients_for_thirty_seconds(tmp_path: Path) -> None:
    # Two, so that each core runs batches of its own: with one thread it never does.
    with running(tmp_path, threads=2) as server:
        asyncio.run(press(server.port, CLIENTS, 10.0, (20, 400)))
        before = server.resident_bytes()
        tally = asyncio.run(press(server.port, CLIENTS, SECONDS - 10, (20, 400)))
        after = server.resident_bytes()
        print(f"{tally.statuses}, {tally.statuses[200] / sum(tally.seconds) * CLIENTS:.0f} answers/s")
        print(f"memory {before / 1e6:.0f} to {after / 1e6:.0f} MB")
        assert set(tally.statuses) <= {200, 429, 503}
        assert tally.statuses[200] > 5 * SECONDS  # a busy machine; the benchmark says what an idle one does
        assert (tally.unanswered, tally.wrong, tally.refused) == ([], 0, 0)
        # Huge pages make what is resident go up and down by a fifth, between batches of ever other sizes; what an
        # answer leaves for good shows all the same: the vectors of one are 100 KB.
        assert after - before < 50e3 * tally.statuses[200]
        assert server.metric("chaperonin_queue_tokens") == 0


def test_a_full_queue_says_so_and_when_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path, "limits.queue_tokens=2000") as server:
        tally = asyncio.run(press(server.port, 60, 3.0, (300, 400)))
        assert set(tally.statuses) == {200, 429}
        assert (tally.unanswered, tally.wrong) == ([], 0)


def test_sigterm_under_load_loses_no_accepted_request(tmp_path: Path) -> None:
    async def load(server: Running) -> tuple[Tally, float]:
        crowd = asyncio.ensure_future(press(server.port, 100, 20.0, (100, 400)))
        await asyncio.sleep(2)
        server.signal(signal.SIGTERM)
        told = time.monotonic()
        return await crowd, told

    with running(tmp_path) as server:
        tally, told = asyncio.run(load(server))
        assert server.wait(30) == 0
        assert set(tally.statuses) <= {200, 503} and tally.statuses[200] >= 100
        assert [begun for begun in tally.unanswered if begun < told] == []
        assert tally.wrong == 0
