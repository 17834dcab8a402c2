"""Routes of jobs: enter one, watch it, fetch its files, cancel it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path as File
from typing import Annotated, Any

import anyio.to_thread
from fastapi import FastAPI, Path, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic_core import to_json

from chaperonin.serving.errors import Refusal
from chaperonin.serving.jobs import ENDED, Jobs, write_table
from chaperonin.serving.schemas import ErrorBody, FilesReply, JobRequest, JobsReply, JobStatus

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", examples=["0" * 32])]
FileName = Annotated[str, Path(max_length=255, examples=["embeddings.h5"])]

_EVERY_SECONDS = 0.5
_QUIET_SECONDS = 15


def add_job_routes(app: FastAPI, jobs: Jobs) -> None:
    """`/v1/jobs` and what is below it."""

    @app.post("/v1/jobs", status_code=202, operation_id="createJob", tags=["jobs"], response_model=JobStatus)
    async def create(body: JobRequest, request: Request) -> Response:
        """Enter a job; its address is in the header Location."""
        client = _client(request)
        id = await anyio.to_thread.run_sync(lambda: _enter(jobs, body, client))
        status = jobs.status(id, client)
        return Response(to_json(status), 202, {"location": f"/v1/jobs/{id}"}, "application/json")

    @app.get("/v1/jobs", operation_id="listJobs", tags=["jobs"], response_model=JobsReply)
    async def list_jobs(request: Request) -> Response:
        """Your jobs, newest first."""
        return _json({"jobs": jobs.of(_client(request))})

    @app.get("/v1/jobs/{id}", operation_id="getJob", tags=["jobs"], response_model=JobStatus)
    async def status(id: JobId, request: Request) -> Response:
        """How far a job is."""
        return _json(jobs.status(id, _client(request)))

    @app.delete("/v1/jobs/{id}", operation_id="deleteJob", tags=["jobs"], response_model=JobStatus)
    async def delete(id: JobId, request: Request) -> Response:
        """Cancel a job that has not ended; remove one that has. Its files go."""
        return _json(jobs.remove(id, _client(request)))

    @app.get(
        "/v1/jobs/{id}/events",
        operation_id="watchJob",
        tags=["jobs"],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def events(id: JobId, request: Request) -> Response:
        """The status of a job, as server-sent events, whenever it changes; ends with the job."""
        client = _client(request)
        jobs.status(id, client)
        return StreamingResponse(_events(jobs, id, client, request), media_type="text/event-stream")

    @app.get("/v1/jobs/{id}/files", operation_id="listFiles", tags=["jobs"], response_model=FilesReply)
    async def files(id: JobId, request: Request) -> Response:
        """Files of a job that has ended."""
        found = jobs.files(id, _client(request))
        return _json(
            {"files": [{"name": one.name, "bytes": one.bytes, "media_type": one.media_type} for one in found]}
        )

    @app.get(
        "/v1/jobs/{id}/files/{name}",
        operation_id="getFile",
        tags=["jobs"],
        response_class=FileResponse,
        responses={
            200: {
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
            },
            404: {"model": ErrorBody},
        },
    )
    async def file(id: JobId, name: FileName, request: Request) -> Response:
        """One file, by its name in the list."""
        found = jobs.file(id, name, _client(request))
        # A report is saved, not opened here: its scripts have no business on this origin.
        return FileResponse(
            found.path,
            media_type=found.media_type,
            filename=found.name,
            content_disposition_type="attachment",
        )


def _enter(jobs: Jobs, body: JobRequest, client: str) -> str:
    fasta, sequences = body.fasta, body.sequences
    if (fasta is None) == (sequences is None):
        raise Refusal(422, "input", "Give either fasta or sequences.")
    if fasta is not None:
        return jobs.add(
            client,
            body.model,
            body.verb,
            body.settings,
            lambda path: _write_text(path, fasta),
            suffix=".fasta",
        )
    rows = [
        (f"sequence_{number}", one)
        if isinstance(one, str)
        else (one.id or f"sequence_{number}", one.sequence)
        for number, one in enumerate(sequences or (), start=1)
    ]
    return jobs.add(
        client, body.model, body.verb, body.settings, lambda path: write_table(path, rows), suffix=".csv"
    )


def _write_text(path: File, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


async def _events(jobs: Jobs, id: str, client: str, request: Request) -> AsyncIterator[bytes]:
    last, quiet = "", 0.0
    while True:
        try:
            found = jobs.status(id, client)
        except Refusal:  # removed meanwhile
            return
        text = json.dumps(found)
        if text != last:
            yield f"event: status\ndata: {text}\n\n".encode()
            last, quiet = text, 0.0
        elif quiet >= _QUIET_SECONDS:
            yield b": still here\n\n"
            quiet = 0.0
        if found["status"] in ENDED or request.app.state.parts.state.draining:
            return
        await asyncio.sleep(_EVERY_SECONDS)
        quiet += _EVERY_SECONDS


def _client(request: Request) -> str:
    return str(request.scope["state"]["client"])


def _json(body: dict[str, Any]) -> Response:
    return Response(to_json(body), media_type="application/json")
