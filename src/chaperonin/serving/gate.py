"""What every request passes before a route sees it: token, size, time, form, number; and what every answer gets."""

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chaperonin.serving.auth import PROBES, Guard
from chaperonin.serving.errors import SECURITY_HEADERS, Refusal, error_response
from chaperonin.serving.metrics import Metrics
from chaperonin.serving.settings import Limits

log = logging.getLogger(__name__)

JSON = "application/json"
INVOCATION_TYPES = (
    JSON,
    "application/jsonlines",
    "application/x-jsonlines",
    "application/x-ndjson",
    "text/csv",
    "application/x-npy",
)
_EVERYWHERE = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_CUSTOM = b"x-amzn-sagemaker-custom-attributes"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,100}")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class State:
    """How the endpoint stands: requests at work, bytes they hold, whether it takes new ones and finishes old ones."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()
        self.body_bytes = 0
        self.draining = False
        self.is_cut_off = False

    @property
    def requests(self) -> int:
        """How many are at work."""
        return len(self.running)

    def cut_off(self) -> None:
        """End every request that is at work: the time to finish is over."""
        self.is_cut_off = True
        for task in self.running:
            task.cancel()


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, guard: Guard, limits: Limits, metrics: Metrics, state: State) -> None:
        self.app = app
        self.guard = guard
        self.limits = limits
        self.metrics = metrics
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # web sockets: there are none here
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = dict(scope["headers"])
        answer = _Answer(send, scope, headers)
        task = asyncio.current_task()
        assert task is not None
        self.state.running.add(task)
        try:
            await self._pass(scope, headers, receive, answer)
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, answer)
        except asyncio.CancelledError:
            if not self.state.is_cut_off or answer.status:
                raise
            task.uncancel()
            await self._refuse(
                _draining("The endpoint shuts down before this is done."), scope, receive, answer
            )
        finally:
            self.state.running.discard(task)
            self._count(scope, answer)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        self.metrics.rejected(refusal.error_type)
        if refusal.status in (408, 413):  # what is still to come is not read
            refusal.headers["connection"] = "close"
        await error_response(refusal, answer.request_id)(scope, receive, answer.send)

    async def _pass(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, answer: "_Answer"
    ) -> None:
        path = scope["path"]
        client = scope.get("client") or ("local", 0)
        try:
            scope["state"]["client"] = self.guard.client_of(path, headers, client[0])
        except Refusal:
            if path == "/" and scope["method"] == "GET":
                await self.guard.enter_page(scope["query_string"])(scope, receive, answer.send)
                return
            raise
        if path not in PROBES:
            self._require_room()
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.app(scope, receive, answer.send)
            return
        body = await self._body(headers, receive)
        if body is None:
            return
        self.state.body_bytes += len(body)
        try:
            _require_form(path, headers, body, self.limits)
            await _while_connected(self.app, scope, body, receive, answer.send)
        finally:
            self.state.body_bytes -= len(body)

    def _require_room(self) -> None:
        if self.state.draining:
            raise _draining("The endpoint is shutting down.")
        room = max(_BODIES_BYTES, 2 * self.limits.body_bytes)
        if self.state.requests > self.limits.requests or self.state.body_bytes > room:
            raise Refusal(429, "overloaded", "Too many requests at once.", retry_after=1)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
        """The whole body; None where the client went away in the middle of it. Refusal: 413, 408, 400."""
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit():
            raise Refusal(400, "malformed", "Content-Length is no number.")
        if int(announced) > self.limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                return await self._read(receive)
        except TimeoutError as error:
            raise Refusal(
                408, "slow_body", f"The body did not arrive within {self.limits.body_seconds:g} s."
            ) from error

    async def _read(self, receive: Receive) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            "too_large",
            f"The body is larger than {self.limits.body_bytes:,} bytes: send fewer sequences at once.",
        )

    def _count(self, scope: Scope, answer: "_Answer") -> None:
        route = getattr(scope.get("route"), "path", "none")
        seconds = time.perf_counter() - answer.started
        status = answer.status or 499  # the client went away
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.request(method, route, status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            line = {"request_id": answer.request_id, "method": method, "route": route, "status": status}
            log.debug("%s", json.dumps({**line, "ms": round(seconds * 1e3, 1)}))


class _Answer:
    """Sends an answer with what every answer has."""

    def __init__(self, send: Send, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        self._send = send
        self.started = time.perf_counter()
        self.status = 0
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self._custom = headers.get(_CUSTOM, b"")[:1024]

    async def send(self, message: Message) -> None:
        """Pass a message on; the first one gets the headers that are missing."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            milliseconds = f"{(time.perf_counter() - self.started) * 1e3:.1f}"
            headers = [
                *_EVERYWHERE,
                (b"x-request-id", self.request_id.encode()),
                (b"x-total-time", milliseconds.encode()),
            ]
            if self._custom:
                headers.append((_CUSTOM, self._custom))
            message["headers"] = [
                *message["headers"],
                *(header for header in headers if header[0] not in present),
            ]
        await self._send(message)


def _draining(message: str) -> Refusal:
    return Refusal(503, "draining", message, retry_after=5, headers={"connection": "close"})


async def _while_connected(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Run the application; when the client goes away it is cancelled, and its work in the queue with it."""
    given, left = False, False
    task = asyncio.current_task()
    assert task is not None

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await asyncio.shield(gone)

    async def watch() -> Message:
        nonlocal left
        while (message := await receive())["type"] != "http.disconnect":
            pass
        left = True
        task.cancel()
        return message

    gone = asyncio.ensure_future(watch())
    try:
        await app(scope, replay, send)
    except asyncio.CancelledError:
        if not left:
            raise
        task.uncancel()
    finally:
        gone.cancel()


def _require_form(path: str, headers: Mapping[bytes, bytes], body: bytes, limits: Limits) -> None:
    """Refusal for a content type that the route does not read (415), and for JSON nested too deeply (400)."""
    given = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    allowed = INVOCATION_TYPES if path == "/invocations" else (JSON,)
    if given not in allowed and path in _READS_BODY:
        raise Refusal(415, "content_type", f"Send Content-Type {' or '.join(allowed)}, not {given[:80]!r}.")
    if given.endswith("json") and _is_deep(body, limits.depth):
        raise Refusal(400, "malformed", f"The JSON is nested deeper than {limits.depth} levels.")


def _is_deep(body: bytes, most: int) -> bool:
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    depth = 0
    for found in _NESTING.finditer(body):
        mark = found[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth > most:
                return True
        elif mark in (b"]", b"}"):
            depth -= 1
    return False


_READS_BODY = frozenset({"/invocations", "/v1/embed", "/v1/predict", "/v1/contacts", "/v1/score", "/v1/jobs"})
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
_BODIES_BYTES = 256 << 20
"""Bytes of bodies in memory at once."""
