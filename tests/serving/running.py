"""An endpoint in a process of its own, and clients that speak plain HTTP to it."""

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.forked import Python

_RUN = "import sys, json; from chaperonin.cli.serve import run; sys.exit(run(**json.loads(sys.argv[1])))"


class Running:
    """A server that was started."""

    def __init__(
        self, folder: Path, *settings: str, threads: int = 1, before: str = "", **options: Any
    ) -> None:
        self.log = folder / "server.log"
        self.connections: list[socket.socket] = []
        options = {"port": 0, "set": [f"jobs_dir={folder / 'jobs'}", *settings], **options}
        self.process = Python(
            "-c",
            f"{before}\n{_RUN}",
            json.dumps(options),
            stdout=self.log,
            stderr=self.log,
            env={"OMP_NUM_THREADS": str(threads)},
        )
        self.port = int(self.process.printed(self.log, r"at http://[^:]+:(\d+)"))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and JSON or bytes, of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {} if body is None else {"content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get("content-type") == "application/json"
        return answer.status, json.loads(content) if is_json else content

    def open(self) -> socket.socket:
        """A bare connection, which is closed with the server at the latest."""
        self.connections.append(socket.create_connection(("127.0.0.1", self.port), timeout=60))
        return self.connections[-1]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this server and no other process."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def resident_bytes(self) -> int:
        """Memory that it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str) -> float:
        """One number of /metrics."""
        _, text = self.ask("GET", "/metrics")
        found = re.search(rf"^{re.escape(name)} (\S+)$", text.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def running(folder: Path, *settings: str, **options: Any) -> Iterator[Running]:
    """A server for the block; it is killed if it still runs after it. `before`: Python that it runs first."""
    server = Running(folder, *settings, **options)
    try:
        yield server
    finally:
        for connection in server.connections:
            connection.close()
        server.process.kill()
        server.process.wait()


def request_bytes(path: str, body: bytes, **headers: str) -> bytes:
    """One POST as it goes over the wire."""
    named = {"host": "x", "content-type": "application/json", "content-length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
