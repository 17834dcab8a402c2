"""The process: load, listen, answer; on SIGTERM finish what was accepted and end."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any

import torch
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chaperonin.serving.app import Parts, build_app, build_parts
from chaperonin.serving.auth import read_guard
from chaperonin.serving.models import Models, load_models
from chaperonin.serving.settings import ServeSettings

log = logging.getLogger(__name__)

_HEAD_BYTES = 65_536
_LEAST_DRAIN_SECONDS = 0.3
"""So that whoever asks `/ready` can learn of it."""
_ANSWER_SECONDS = 2
"""For the last answers to reach their clients."""
_GRACE_SECONDS = 4.0
"""After the drain, for answers and the batch that runs. Then the process ends as it stands, which a job survives."""


def serve(model: str, settings: ServeSettings, environment: Mapping[str, str]) -> int:
    """Serve until a signal ends it; returns the exit code.

    UsageError and WeightsError for what keeps it from starting.
    """
    # A pass takes and leaves the interpreter hundreds of times; behind a busy event loop each wait is this long.
    sys.setswitchinterval(1e-5)
    guard = read_guard(settings, environment)
    # A thread that computes has OpenMP threads of its own. Where they are more than the processors, all of them sleep
    # between two products, and a pass takes half as long again: one thread computes on all of them, all others alone.
    owner = ThreadPoolExecutor(1, "model")
    models = owner.submit(_load, model, settings).result()
    torch.set_num_threads(1)
    parts = build_parts(settings, models, guard, owner)
    parts.jobs.open()
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        build_app(parts),
        host=settings.host,
        port=settings.port,
        http=partial(Protocol, settings.limits.head_seconds),  # type: ignore[arg-type]  # it is called, no more
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,  # it would hold the token that opens the page
        server_header=False,
        timeout_graceful_shutdown=_ANSWER_SECONDS,
    )
    try:
        Server(config, parts).run()
    finally:
        parts.worker.queue.close()
    return 0


def _load(model: str, settings: ServeSettings) -> Models:
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    return load_models(model, settings)


class Server(uvicorn.Server):
    """Drains before it ends: SIGTERM closes the door to new requests, a second one ends at once."""

    def __init__(self, config: uvicorn.Config, parts: Parts) -> None:
        super().__init__(config)
        self.parts = parts
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: "list | None" = None) -> None:
        """Listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        served = self.parts.models.default.name
        opened = "" if self.parts.guard.open else " (tokens needed)"
        print(f"serving {served} at http://{host}:{port}{opened}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal ends the process as it stands."""
        if self.parts.state.draining or self._loop is None:
            os._exit(128 + sig)
        self.parts.state.draining = True
        log.warning("%s: finishing what was accepted", signal.Signals(sig).name)
        self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._drain()))

    async def _drain(self) -> None:
        loop, state = asyncio.get_running_loop(), self.parts.state
        patience = self.parts.settings.limits.drain_seconds
        last = threading.Timer(patience + _GRACE_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()
        begun = loop.time()
        while (passed := loop.time() - begun) < patience:
            if state.requests == 0 and passed >= _LEAST_DRAIN_SECONDS:
                break
            await asyncio.sleep(0.02)
        else:
            log.warning("%d requests did not end within %g s", state.requests, patience)
            state.cut_off()
        self.should_exit = True


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which also gives up on a head of a request that does not end, in time or in size."""

    def __init__(self, head_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._head_seconds = head_seconds
        self._in_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(Together(transport, self.loop))  # type: ignore[arg-type]  # it has all that is called
        self._timer = self.loop.call_later(self._head_seconds, self._hang_up)

    def data_received(self, data: bytes) -> None:
        """Read; wait for the end of a head only while one is on its way."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
        if not self._in_head or self.transport.is_closing():
            self._forget_timer()
        elif self._head_bytes > _HEAD_BYTES:
            self.send_400_response("The head of the request is too long.")
        elif self._timer is None:
            self._timer = self.loop.call_later(self._head_seconds, self._hang_up)

    def on_headers_complete(self) -> None:
        """A body may follow. ValueError, which is answered with 400, for a head that came in one piece, too long."""
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > _HEAD_BYTES:
            raise ValueError("the head of the request is too long")
        self._in_head = False
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to wait for."""
        self._forget_timer()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        self._timer = None
        if self._in_head and not self.transport.is_closing():
            self.transport.close()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Together:
    """A transport that sends head and body of an answer at once: one packet, and its reader wakes once."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send it with what else is written before the loop turns."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, and end."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and not self._transport.is_closing():  # else its reader has gone
            self._transport.writelines(waiting)
