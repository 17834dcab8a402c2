"""./go bench serve: what the endpoint adds to the model, and what batching gains under a crowd, on this machine.

Servers in processes of their own, over the bundled model, asked in turn (A-B-A-B): with batching and without. A crowd
of clients asks for one vector each, without pause, over plain sockets. Clients and server share the processors, so
requests are drawn before the clock starts. Prints the table, writes JSON with every sample.

    ./go bench serve
    ./go bench serve --quick       a few seconds, to test the benchmark itself
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.setting import residues
from benchmarks.table import Row, as_json, as_text, load_average, machine, not_run, write
from chaperonin.kernels.linear import lacks_int8

LENGTHS = (20, 400)
"""Residues of the crowd's sequences, drawn evenly on a logarithmic scale."""
_DRAWN = 64
"""Requests of each client, sent in turn."""


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    port: int
    log: Path


@dataclass
class Crowd:
    """What a crowd got."""

    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.statuses[200] / self.seconds


def main(arguments: list[str]) -> int:
    """Measure, print, write. Returns 1 if a bound was missed."""
    options = _parse(arguments)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row for precision in options.precision for row in throughput(Path(folder), precision, options)
        ]
        rows.append(overhead(Path(folder), options))
    facts["load_average_at_end"] = load_average()
    print(as_text(rows))
    print(f"\n{facts['processor']}, {options.threads} threads, load {facts['load_average_at_start']}")
    write(options.out, as_json(rows, facts))
    return int(any(row.verdict == "missed" for row in rows) and not options.quick)


def throughput(folder: Path, precision: str, options: argparse.Namespace) -> list[Row]:
    """Answers per second to a crowd, with batching and without, in turn."""
    if precision == "int8" and (lack := lacks_int8()):
        return [not_run(f"answers to {options.clients} clients, int8", lack)]
    rounds, seconds = (1, 2.0) if options.quick else (options.rounds, options.seconds)
    crowds: tuple[list[Crowd], list[Crowd]] = ([], [])
    with (
        _server(folder / f"batching-{precision}", "true", precision) as batching,
        _server(folder / f"single-{precision}", "false", precision) as single,
    ):
        for server in (batching, single):
            uvloop.run(_press(server.port, options.clients, 2.0))
        for _ in range(rounds):
            for server, own in zip((batching, single), crowds, strict=True):
                own.append(uvloop.run(_press(server.port, options.clients, seconds)))
    with_batches, without = (median(crowd.rate for crowd in own) for own in crowds)
    latency, other = (median(wait for crowd in own for wait in crowd.waits) for own in crowds)
    statuses = sum((crowd.statuses for crowd in crowds[0]), Counter[int]())
    samples = {"batching": [crowd.rate for crowd in crowds[0]], "single": [crowd.rate for crowd in crowds[1]]}
    tokens = median(crowd.tokens / crowd.seconds for crowd in crowds[0])
    low, high = LENGTHS
    return [
        Row(
            f"answers to {options.clients} clients, {low}-{high} residues, {precision}, against no batching",
            f"{with_batches:,.0f}/s",
            f"{without:,.0f}/s",
            with_batches / without,
            2.0,
            notes=f"{tokens:,.0f} tokens/s with batching; statuses {dict(statuses)}",
            samples=samples,
        ),
        Row(
            f"median wait of these clients, {precision}",
            f"{latency:.2f} s",
            f"{other:.2f} s",
            other / latency,
        ),
    ]


def overhead(folder: Path, options: argparse.Namespace) -> Row:
    """Time of a single request on an idle server beyond the bare pass over the same sequence, in turn."""
    import torch

    from chaperonin.data.batching import make_batch
    from chaperonin.inference.load import load

    precision = options.precision[0]
    model = load(device="cpu", precision=precision)
    sequence = residues(100, random.Random(0))
    batch = make_batch([model.alphabet.encode(sequence)])
    content = json.dumps({"sequences": [sequence]}).encode()
    repeats = 10 if options.quick else 200
    bare: list[float] = []
    asked: list[float] = []
    with _server(folder / "idle", "true", precision) as server, torch.inference_mode():

        async def measure() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for number in range(repeats + 10):
                begun = time.perf_counter()
                model(batch.tokens, batch.segments)
                passed = time.perf_counter()
                writer.write(_request(content))
                status, answer = await _answer(reader)
                ended = time.perf_counter()
                assert status == 200, answer
                if number >= 10:
                    bare.append(passed - begun)
                    asked.append(ended - passed)
            writer.close()

        asyncio.run(measure())
    extra = (median(asked) - median(bare)) * 1e3
    return Row(
        "single request of 100 residues on an idle server, beyond the bare pass",
        f"{median(asked) * 1e3:.1f} ms",
        f"{median(bare) * 1e3:.1f} ms",
        extra,
        5.0,
        unit=" ms",
        lower_is_better=True,
        samples={"asked": asked, "bare": bare},
    )


async def _press(port: int, clients: int, seconds: float) -> Crowd:
    crowd = Crowd(seconds)
    drawn = [_drawn(random.Random(number)) for number in range(clients)]
    end = time.monotonic() + seconds
    await asyncio.gather(*(_client(port, end, own, crowd) for own in drawn))
    return crowd


def _drawn(draw: random.Random) -> list[tuple[int, bytes]]:
    """Requests of one client, each with its tokens."""
    low, high = LENGTHS
    lengths = [round(low * (high / low) ** draw.random()) for _ in range(_DRAWN)]
    bodies = (json.dumps({"sequences": [residues(length, draw)]}).encode() for length in lengths)
    return [(length + 2, _request(body)) for length, body in zip(lengths, bodies, strict=True)]


async def _client(port: int, end: float, drawn: list[tuple[int, bytes]], crowd: Crowd) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for tokens, request in cycle(drawn):
        begun = time.monotonic()
        if begun >= end:
            break
        writer.write(request)
        status, _ = await _answer(reader)
        if time.monotonic() < end:  # what comes later does not count
            crowd.statuses[status] += 1
            crowd.waits.append(time.monotonic() - begun)
            crowd.tokens += tokens
        if status != 200:
            await asyncio.sleep(0.2)
    writer.close()


def _request(content: bytes) -> bytes:
    head = f"POST /v1/embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
    return f"{head}\r\n\r\n".encode() + content


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    size = re.search(rb"content-length: (\d+)", head)
    assert size is not None
    return int(head.split(b" ", 2)[1]), await reader.readexactly(int(size[1]))


@contextmanager
def _server(folder: Path, batching: str, precision: str) -> Iterator[Server]:
    folder.mkdir()
    given = [f"jobs_dir={folder / 'jobs'}", f"batching={batching}", f"precision={precision}"]
    options = {"port": 0, "set": given}
    code = "import json, sys; from chaperonin.cli.serve import run; sys.exit(run(**json.loads(sys.argv[1])))"
    log = folder / "log"
    with log.open("w") as opened:
        process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(options)], stdout=opened, stderr=opened
        )
    try:
        yield Server(_port(process, log), log)
    finally:
        process.terminate()
        process.wait(60)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"at http://[^:]+:(\d+)", log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text()}")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench serve", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bench_serve.json"), help="where the JSON goes")
    parser.add_argument("--threads", type=int, default=2, help="threads of one operation")
    parser.add_argument("--clients", type=int, default=200, help="clients of the crowd")
    parser.add_argument("--rounds", type=int, default=4, help="times that each server is pressed")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of each time")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["fp32", "int8"],
        help="of the model on both sides: fp32, bf16, int8",
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds, to test the benchmark itself")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
