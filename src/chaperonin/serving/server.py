"""The process: load, listen, answer; on SIGTERM finish what was accepted and end."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import h11
import torch
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from chaperonin.serving.app import Parts, build_app, build_parts
from chaperonin.serving.auth import read_guard
from chaperonin.serving.models import Models, load_models
from chaperonin.serving.settings import ServeSettings

log = logging.getLogger(__name__)

_HEADER_SECONDS = 10.0
_LEAST_DRAIN_SECONDS = 0.3
"""So that whoever asks `/ready` can learn of it."""


def serve(model: str, settings: ServeSettings, environment: Mapping[str, str]) -> int:
    """Serve until a signal ends it; returns the exit code.

    UsageError and WeightsError for what keeps it from starting.
    """
    # A pass takes and leaves the interpreter hundreds of times; behind a busy event loop each wait is this long.
    sys.setswitchinterval(1e-4)
    guard = read_guard(settings, environment)
    # A thread that computes has OpenMP threads of its own. Where they are more than the processors, all of them sleep
    # between two products, and a pass takes half as long again: one thread computes, and the others do so alone.
    owner = ThreadPoolExecutor(1, "model")
    models = owner.submit(_load, model, settings).result()
    torch.set_num_threads(1)
    parts = build_parts(settings, models, guard, owner)
    parts.jobs.open()
    config = uvicorn.Config(
        build_app(parts),
        host=settings.host,
        port=settings.port,
        http=Protocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,  # it would hold the token that opens the page
        server_header=False,
        timeout_graceful_shutdown=5,
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
        loop = asyncio.get_running_loop()
        begun = loop.time()
        patience = self.parts.settings.limits.drain_seconds
        while (passed := loop.time() - begun) < patience:
            if self.parts.state.requests == 0 and passed >= _LEAST_DRAIN_SECONDS:
                break
            await asyncio.sleep(0.02)
        else:
            log.warning("%d requests did not end within %g s", self.parts.state.requests, patience)
        self.should_exit = True


class Protocol(H11Protocol):
    """uvicorn's protocol, which also hangs up on who never finishes the head of a request."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._head = self.loop.call_later(_HEADER_SECONDS, self._hang_up)

    def data_received(self, data: bytes) -> None:
        """Read; wait for a head only while one is expected."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._forget_head()
        elif self._head is None:
            self._head = self.loop.call_later(_HEADER_SECONDS, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to wait for."""
        self._forget_head()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        self._head = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
