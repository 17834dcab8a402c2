"""The endpoint as an ASGI application: one request straight down (gate, route, verbs, queue, model) and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Annotated, Any

import anyio.to_thread
from fastapi import FastAPI, Path, Request, Response
from pydantic import BaseModel

from chaperonin.inference.load import origin_of
from chaperonin.serving import errors, sagemaker, web
from chaperonin.serving.auth import Guard
from chaperonin.serving.direct import Direct, Handler, add_verb
from chaperonin.serving.gate import Gate, State
from chaperonin.serving.job_routes import add_job_routes
from chaperonin.serving.jobs import Jobs
from chaperonin.serving.metrics import CONTENT_TYPE, Metrics
from chaperonin.serving.models import Models
from chaperonin.serving.proteins import Proteins, read_protein, read_proteins
from chaperonin.serving.schemas import (
    ContactsReply,
    ContactsRequest,
    EmbedReply,
    EmbedRequest,
    ErrorBody,
    Info,
    LoadRequest,
    ModelsReply,
    PredictReply,
    PredictRequest,
    Probe,
    ScoreReply,
    ScoreRequest,
    ServedModel,
    with_limits,
)
from chaperonin.serving.settings import ServeSettings, jobs_folder
from chaperonin.serving.text_routes import add_text_routes
from chaperonin.serving.verbs import Verbs, numbers, reply
from chaperonin.serving.worker import Worker

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["membrane"])]


@dataclass(frozen=True)
class Parts:
    """What an application is made of."""

    settings: ServeSettings
    models: Models
    worker: Worker
    jobs: Jobs
    metrics: Metrics
    guard: Guard
    state: State

    def verbs(self, request: Request) -> Verbs:
        """The verbs for one request."""
        return Verbs(self.models, self.worker, self.settings.limits, request.scope["state"]["client"])


def build_parts(
    settings: ServeSettings, models: Models, guard: Guard, owner: ThreadPoolExecutor | None = None
) -> Parts:
    """Queue, worker, jobs and metrics of one endpoint; nothing runs yet. `owner`: the thread that loaded the model."""
    metrics = Metrics()
    worker = Worker(models, settings, metrics, owner or ThreadPoolExecutor(1, "model"))
    jobs = Jobs(jobs_folder(settings), models, worker.queue, settings.limits)
    metrics.watch(lambda: worker.queue.tokens, jobs.unfinished)
    return Parts(settings, models, worker, jobs, metrics, guard, State())


def build_app(parts: Parts) -> FastAPI:
    """The application; model and jobs begin with its lifespan and end with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts.worker.start()
        parts.jobs.start()
        yield
        await anyio.to_thread.run_sync(parts.jobs.stop)
        await anyio.to_thread.run_sync(parts.worker.stop)

    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": text} for status, text in _REFUSALS.items()
    }
    app = FastAPI(
        title="chaperonin",
        version=version("chaperonin"),
        description="Protein language models: embeddings, predictions, contacts and effects of variants.",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=refusals,
        redirect_slashes=False,
    )
    app.state.parts = parts
    errors.register(app)
    _add_probes(app, parts)
    direct = _add_verbs(app, parts)
    direct |= add_text_routes(app, parts.settings.limits, parts.verbs)
    _add_models(app, parts)
    add_job_routes(app, parts.jobs)
    direct |= sagemaker.add_routes(app, parts.settings, parts.verbs)
    web.add_routes(app)
    app.add_middleware(Direct, handlers=direct)
    app.add_middleware(
        Gate, guard=parts.guard, limits=parts.settings.limits, metrics=parts.metrics, state=parts.state
    )
    _describe(app, parts)
    return app


def _add_verbs(app: FastAPI, parts: Parts) -> dict[str, Handler]:
    limits = parts.settings.limits
    direct: dict[str, Handler] = {}

    def verb(name: str, answer: type[BaseModel]) -> Callable[[Any], Any]:
        return add_verb(app, direct, f"/v1/{name}", name, answer)

    def answer(verbs: Verbs, name: str, proteins: Proteins, results: list[dict[str, Any]]) -> Response:
        return reply({"model": name, "results": results, "failures": proteins.failures}, verbs.cost)

    @verb("embed", EmbedReply)
    async def embed(body: EmbedRequest, request: Request) -> Response:
        """Vectors of proteins, the mean over residues, or of their residues."""
        verbs, proteins = parts.verbs(request), read_proteins(body.sequences, limits)
        vectors = await verbs.embed(proteins, body.level, body.model)
        results = [{**one.head(), "embedding": numbers(vectors[one.index])} for one in proteins.good]
        return answer(verbs, parts.models.get(body.model).name, proteins, results)

    @verb("predict", PredictReply)
    async def predict(body: PredictRequest, request: Request) -> Response:
        """Labels or values that a trained model gives, with calibrated probabilities."""
        verbs, proteins = parts.verbs(request), read_proteins(body.sequences, limits)
        predictions = await verbs.predict(proteins, body.model)
        results = [{**one.head(), **predictions[one.index].as_json()} for one in proteins.good]
        return answer(verbs, parts.models.get(body.model).name, proteins, results)

    @verb("contacts", ContactsReply)
    async def contacts(body: ContactsRequest, request: Request) -> Response:
        """Which residues touch: a map of probabilities for each protein."""
        verbs, proteins = parts.verbs(request), read_proteins(body.sequences, limits)
        maps = await verbs.contacts(proteins)
        results = [{**one.head(), "contacts": numbers(maps[one.index], 3)} for one in proteins.good]
        return answer(verbs, parts.models.default.name, proteins, results)

    @verb("score", ScoreReply)
    async def score(body: ScoreRequest, request: Request) -> Response:
        """Effects of substitutions: how much more or less probable the model finds them than the wild type."""
        verbs, protein = parts.verbs(request), read_protein(body.sequence, body.id, limits)
        scores, failures = await verbs.score(protein, body.variants, body.protocol)
        head = {"model": parts.models.default.name, "id": protein.id}
        return reply({**head, "scores": scores, "failures": failures}, verbs.cost)

    return direct


def _add_models(app: FastAPI, parts: Parts) -> None:
    models, queue = parts.models, parts.worker.queue

    async def between(change: Any) -> Any:
        """The worker's model changes only between its batches."""
        return await asyncio.wrap_future(queue.between(change))

    @app.get("/v1/models", operation_id="listModels", tags=["models"], response_model=ModelsReply)
    async def list_models() -> Response:
        """What is served, and what may be loaded."""
        served = [one.describe(one is models.default) for one in models]
        return reply({"base": _base(models), "models": served, "folders": models.folders()})

    @app.put("/v1/models/{name}", operation_id="loadModel", tags=["models"], response_model=ServedModel)
    async def load_model(name: Name, body: LoadRequest) -> Response:
        """Serve the model of a folder inside --adapters, from now on."""
        served = await between(lambda: models.add(name, body.folder))
        return reply(served.describe(False))

    @app.delete("/v1/models/{name}", operation_id="unloadModel", tags=["models"], response_model=ServedModel)
    async def unload_model(name: Name) -> Response:
        """Serve a model no longer."""
        served = await between(lambda: models.remove(name))
        return reply(served.describe(False))


def _base(models: Models) -> dict[str, Any]:
    origin, config = origin_of(models.base), models.base.config
    shape = {"width": config.width, "depth": config.depth, "parameters": origin.parameters}
    runs = {"precision": origin.precision, "device": origin.device}
    reads_text = models.reader is not None
    return {"name": models.default.name, "sha256": origin.sha256, **shape, **runs, "reads_text": reads_text}


def _add_probes(app: FastAPI, parts: Parts) -> None:
    async def live() -> Response:
        """Whether the process answers."""
        return reply({"status": "live"})

    async def ready() -> Response:
        """Whether the model takes requests: 503 while it starts and while it shuts down."""
        if parts.state.draining or not parts.worker.alive:
            raise errors.Refusal(503, "draining", "The endpoint takes no requests.", retry_after=5)
        return reply({"status": "ready"})

    async def ping() -> Response:
        """As `ready`, with an empty body: what SageMaker asks."""
        await ready()
        return Response()

    for path, body, name in (
        ("/health", live, "health"),
        ("/v1/health/live", live, "healthLive"),
        ("/ready", ready, "ready"),
        ("/v1/health/ready", ready, "healthReady"),
    ):
        app.get(path, operation_id=name, tags=["probes"], response_model=Probe)(body)
    app.get("/ping", operation_id="ping", tags=["probes"], response_class=Response)(ping)

    @app.get("/metrics", operation_id="metrics", tags=["probes"], response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/info", operation_id="info", tags=["probes"], response_model=Info)
    async def info() -> Response:
        """What runs here, and what it takes."""
        settings = parts.settings
        model = {**_base(parts.models), "name": parts.models.default.name}
        facts = {"name": "chaperonin", "version": version("chaperonin"), "model": model}
        return reply({**facts, "limits": asdict(settings.limits), "batching": settings.batching})


def _describe(app: FastAPI, parts: Parts) -> None:
    """The OpenAPI document with the limits as they are set, and how to show a token."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = with_limits(plain(), parts.settings.limits)
            schema.setdefault("components", {})["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"}
            }
            schema["security"] = [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


_REFUSALS = {
    400: "The request is not understood.",
    401: "A token is needed.",
    404: "There is no such thing.",
    405: "The route has no such method.",
    408: "The body did not arrive in time.",
    409: "It is there already, or it is not in a state for this.",
    413: "Too much at once.",
    415: "The content type is not read here.",
    422: "The content cannot be used.",
    429: "Too many requests: see Retry-After.",
    500: "An error of ours.",
    503: "Starting, shutting down, or too slow: see Retry-After.",
}
