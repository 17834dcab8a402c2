"""The routes that do the work, reached at once: the framework's way to them would cost as much as all else here.

FastAPI still describes them, and answers what is no POST to one of them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, TypeAdapter
from starlette.types import ASGIApp, Receive, Scope, Send

from chaperonin.errors import ChaperoninError
from chaperonin.serving.bodies import read_json, validated
from chaperonin.serving.errors import Refusal, error_response, refusal_of

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """What is counted under its path."""

    path: str
    handler: Handler


class Direct:
    """ASGI middleware inside the gate: a POST to one of the paths goes to its handler, everything else on.

    What a handler raises besides refusals is answered, and logged, where all errors of ours are.
    """

    def __init__(self, app: ASGIApp, *, handlers: Mapping[str, Handler]) -> None:
        self._app = app
        self._routes = {path: Route(path, handler) for path, handler in handlers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route = self._routes.get(scope["path"]) if scope.get("method") == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            response = await route.handler(Request(scope, receive))
        except (Refusal, ChaperoninError) as error:
            response = error_response(refusal_of(error), scope["state"]["request_id"])
        await response(scope, receive, send)


def add_verb(
    app: FastAPI, handlers: dict[str, Handler], path: str, operation: str, answer: type[BaseModel]
) -> Callable[[Any], Any]:
    """Decorates an endpoint `(body, request)`: described by the application, and among the handlers."""

    def add(endpoint: Any) -> Any:
        handlers[path] = reading(endpoint)
        return app.post(path, operation_id=operation, tags=["sequences"], response_model=answer)(endpoint)

    return add


def reading(answer: Callable[[Any, Request], Awaitable[Response]]) -> Handler:
    """A handler that reads the body as the model that `answer(body, request)` names."""
    model = TypeAdapter(answer.__annotations__["body"])

    async def handle(request: Request) -> Response:
        content = (await request.receive())["body"]  # the gate has read it whole
        value = read_json(content, "the body") if content else None
        return await answer(validated(model, value, ("body",)), request)

    return handle
