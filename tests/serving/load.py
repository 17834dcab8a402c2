"""Clients that ask without pause, over plain sockets: cheap enough to leave the processors to the server."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.serving.running import request_bytes

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@dataclass
class Tally:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: list[float] = field(default_factory=list)
    """When requests were sent whose connection ended without a whole answer (time.monotonic)."""
    wrong: int = 0
    """Answers with status 200 that are not the asked sequence's."""
    refused: int = 0
    """Connections that were not accepted."""
    seconds: list[float] = field(default_factory=list)


def body(draw: random.Random, lengths: tuple[int, int]) -> tuple[bytes, int]:
    """A request for one vector; lengths are drawn evenly on a logarithmic scale."""
    low, high = lengths
    length = round(low * (high / low) ** draw.random())
    sequence = "".join(draw.choices(LETTERS, k=length))
    return json.dumps({"sequences": [sequence]}).encode(), length


async def press(
    port: int, clients: int, seconds: float, lengths: tuple[int, int], once: bool = False
) -> Tally:
    """Clients that each ask again as soon as they are answered, for so many seconds (or one time each)."""
    tally = Tally()
    end = time.monotonic() + seconds
    draws = [random.Random(number) for number in range(clients)]
    await asyncio.gather(*(_client(port, end, draw, lengths, once, tally) for draw in draws))
    return tally


async def _client(
    port: int, end: float, draw: random.Random, lengths: tuple[int, int], once: bool, tally: Tally
) -> None:
    reader: asyncio.StreamReader | None = None
    while time.monotonic() < end:
        content, length = body(draw, lengths)
        if reader is None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                tally.refused += 1
                return
        begun = time.monotonic()
        writer.write(request_bytes("/v1/embed", content))
        try:
            status, headers, answer = await _answer(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            tally.unanswered.append(begun)
            writer.close()
            return
        tally.statuses[status] += 1
        tally.seconds.append(time.monotonic() - begun)
        if status == 200:
            (result,) = json.loads(answer)["results"]
            tally.wrong += result["length"] != length or len(result["embedding"]) < 8
        if once:
            break
        if b"connection: close" in headers.lower():
            writer.close()
            reader = None
        if status in (429, 503):
            await asyncio.sleep(0.2)
    if reader is not None:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    headers = await reader.readuntil(b"\r\n\r\n")
    size = re.search(rb"content-length: (\d+)", headers, re.IGNORECASE)
    assert size is not None
    return int(headers.split(b" ", 2)[1]), headers, await reader.readexactly(int(size[1]))
