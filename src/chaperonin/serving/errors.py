"""What the endpoint answers when it does not do what was asked: one body for all of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from chaperonin.errors import ChaperoninError, MemoryLimitError, UnavailableError

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""On every answer."""


class Refusal(Exception):
    """A request that is not done: status, a slug for programs, a sentence for people."""

    def __init__(
        self,
        status: int,
        error_type: str,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message.encode("utf-8", "replace").decode()
        self.details = list(details)
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["retry-after"] = str(max(1, round(retry_after + 0.5)))


def error_response(refusal: Refusal, request_id: str) -> Response:
    """The one body that every 4xx and 5xx has."""
    body = {
        "error": refusal.message,
        "error_type": refusal.error_type,
        "request_id": request_id,
        "details": refusal.details,
    }
    headers = {**SECURITY_HEADERS, "x-request-id": request_id, **refusal.headers}
    return Response(to_json(body), refusal.status, headers, "application/json")


def register(app: FastAPI) -> None:
    """Give every error that a route can raise the one body."""

    async def refused(request: Request, error: Exception) -> Response:
        return error_response(refusal_of(error), request.scope.get("state", {}).get("request_id", ""))

    for kind in (Refusal, ChaperoninError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def refusal_of(error: Exception) -> Refusal:
    """What is answered to an error."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return invalid(error.errors())
    if isinstance(error, MemoryLimitError):
        return Refusal(503, "memory", str(error), retry_after=5)
    if isinstance(error, ChaperoninError):
        status = 503 if isinstance(error, UnavailableError) else 422
        return Refusal(status, error.kind, str(error), details=[failure_of(error)])
    if isinstance(error, HTTPException):
        slug = _SLUGS.get(error.status_code, "error")
        return Refusal(error.status_code, slug, str(error.detail), headers=error.headers)
    return Refusal(
        500, "internal", "Something went wrong here. The server's log says what, by the request id."
    )


def failure_of(error: ChaperoninError) -> dict[str, str]:
    """What was wrong, where, and what to do."""
    return {"error": error.what, "where": error.where, "advice": error.advice}


def invalid(errors: Sequence[Mapping[str, Any]]) -> Refusal:
    """What is answered to content that its model does not take; the errors are pydantic's."""
    # What was sent is not repeated: it may be large, or not be text.
    details = [
        {
            "where": ".".join(_printable(part) for part in found["loc"]),
            "error": found["msg"],
            "kind": found["type"],
        }
        for found in errors[:20]
    ]
    first = f"{details[0]['where']}: {details[0]['error']}" if details else "the request is not understood"
    malformed = any(detail["kind"] == "json_invalid" for detail in details)
    return Refusal(
        400 if malformed else 422, "malformed" if malformed else "validation", first, details=details
    )


def _printable(part: str | int) -> str:
    return str(part).encode("utf-8", "replace").decode()[:80]


_SLUGS = {400: "malformed", 404: "not_found", 405: "method_not_allowed"}
