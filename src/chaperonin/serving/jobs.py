"""Jobs of the endpoint: one SQLite file says which there are, resumable job folders hold what they computed.

One thread runs them, one after the other. It computes nothing itself: every pass through the model is a turn of the
worker's, taken between batches of live requests. A server that is killed goes on with its jobs when it starts again.
"""

import copy
import csv
import dataclasses
import json
import logging
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from chaperonin.errors import ChaperoninError, UsageError
from chaperonin.inference.load import origin_of
from chaperonin.inference.lock import FolderLock
from chaperonin.kernels.segments import Segments
from chaperonin.layers.language import LanguageModel
from chaperonin.serving.batcher import TokenQueue
from chaperonin.serving.errors import Refusal
from chaperonin.serving.job_verbs import require_settings, run_verb
from chaperonin.serving.models import Models, Served
from chaperonin.serving.settings import Limits

log = logging.getLogger(__name__)

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, client TEXT NOT NULL, model TEXT NOT NULL,
    verb TEXT NOT NULL, settings TEXT NOT NULL, input TEXT NOT NULL, status TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0, error TEXT, created TEXT NOT NULL,
    finished TEXT);
CREATE TABLE IF NOT EXISTS files (
    job TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL, bytes INTEGER NOT NULL, media_type TEXT NOT NULL,
    PRIMARY KEY (job, name)) WITHOUT ROWID;
"""
_COLUMNS = "id, verb, status, done, failed, total, error, created, finished"


class Stopped(Exception):
    """The job is to stop here: it was cancelled, or the endpoint shuts down."""


@dataclass(frozen=True)
class File:
    """A file of a job that may be fetched."""

    name: str
    path: Path
    bytes: int
    media_type: str


class Jobs:
    """The table of jobs and the thread that works on them."""

    def __init__(self, folder: Path, models: Models, queue: TokenQueue, limits: Limits) -> None:
        self.folder = folder
        self._models = models
        self._queue = queue
        self._limits = limits
        self._lock: FolderLock | None = None
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def open(self) -> None:
        """Take the folder and make the table. UsageError where another server has it."""
        if self._lock is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot be made ({error.strerror})",
                where=str(self.folder),
                advice="Set jobs_dir to a folder.",
            ) from error
        self._lock = FolderLock(self.folder / "jobs.lock")
        with self._table() as table:
            table.executescript(_SCHEMA)

    def start(self) -> None:
        """Begin, with what was interrupted first."""
        self.open()
        with self._table() as table:
            table.execute("UPDATE jobs SET status = ? WHERE status = ?", (QUEUED, RUNNING))
        self._thread.start()

    def stop(self) -> None:
        """Let the job that runs stop after its batch; it goes on at the next start."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._thread.join()
        if self._lock is not None:
            self._lock.release()

    def add(
        self,
        client: str,
        model: str | None,
        verb: str,
        settings: Mapping[str, Any],
        write: Callable[[Path], None],
        suffix: str,
    ) -> str:
        """Enter a job whose input `write` writes; its id. Refusal: 404 model, 422 settings, 429 too many jobs."""
        served = self._models.get(model)
        require_settings(verb, settings, served)
        if self.unfinished() >= self._limits.jobs:
            raise Refusal(429, "overloaded", f"{self._limits.jobs} jobs wait or run already.", retry_after=30)
        id = uuid.uuid4().hex
        name = f"input{suffix}"
        own = self.folder / id
        own.mkdir()
        write(own / name)
        with self._table() as table:
            table.execute(
                "INSERT INTO jobs (id, client, model, verb, settings, input, status, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (id, client, served.name, verb, json.dumps(dict(settings)), name, QUEUED, _now()),
            )
        with self._wake:
            self._wake.notify_all()
        return id

    def status(self, id: str, client: str) -> dict[str, Any]:
        """How far a job is; Refusal (404) for one that is not there, or not this client's."""
        with self._table() as table:
            row = table.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND client = ?", (id, client)
            ).fetchone()
        if row is None:
            raise Refusal(404, "unknown_job", "There is no such job.")
        found = dict(zip(_COLUMNS.split(", "), row, strict=True))
        if found["status"] == RUNNING:
            found |= _progress(self.folder / id / "out" / "job.sqlite")
        return found

    def of(self, client: str) -> list[dict[str, Any]]:
        """The jobs of a client, newest first."""
        with self._table() as table:
            rows = table.execute(
                "SELECT id FROM jobs WHERE client = ? ORDER BY number DESC LIMIT 500", (client,)
            ).fetchall()
        return [self.status(id, client) for (id,) in rows]

    def remove(self, id: str, client: str) -> dict[str, Any]:
        """Cancel a job that has not ended, forget one that has; its files go. Its last status."""
        found = self.status(id, client)
        if found["status"] in ENDED:
            self._forget([id])
            return found
        self._set(id, status=CANCELLED, finished=_now())
        if found["status"] == QUEUED:  # else its thread removes the files when it stops
            shutil.rmtree(self.folder / id, ignore_errors=True)
        return self.status(id, client)

    def files(self, id: str, client: str) -> list[File]:
        """The files of a job; none before it has ended."""
        self.status(id, client)
        with self._table() as table:
            rows = table.execute(
                "SELECT name, path, bytes, media_type FROM files WHERE job = ? ORDER BY name", (id,)
            ).fetchall()
        return [File(name, self.folder / id / path, size, kind) for name, path, size, kind in rows]

    def file(self, id: str, name: str, client: str) -> File:
        """One file by its name in the table; Refusal (404) for any other name."""
        for file in self.files(id, client):
            if file.name == name and file.path.is_file():
                return file
        raise Refusal(404, "unknown_file", "The job has no such file.")

    def unfinished(self) -> int:
        """Jobs that wait or run."""
        if not (self.folder / DATABASE).exists():
            return 0
        with self._table() as table:
            query = "SELECT count(*) FROM jobs WHERE status IN (?, ?)"
            return int(table.execute(query, (QUEUED, RUNNING)).fetchone()[0])

    def _work(self) -> None:
        while not self._stopping:
            with self._table() as table:
                row = table.execute(
                    "SELECT id, model, verb, settings, input FROM jobs WHERE status = ? ORDER BY number LIMIT 1",
                    (QUEUED,),
                ).fetchone()
            if row is not None:
                self._run(*row)
                self._forget_oldest()
                continue
            with self._wake:
                if not self._stopping:
                    self._wake.wait(1.0)

    def _run(self, id: str, model: str, verb: str, settings: str, name: str) -> None:
        self._set(id, status=RUNNING)
        own = self.folder / id
        try:
            view = self._view(id, self._models.get(model))
            outcome = run_verb(verb, view, own / name, own / "out", json.loads(settings))
        except (Stopped, CancelledError):
            if not self._is(id, CANCELLED):
                self._set(id, status=QUEUED)
                return
            shutil.rmtree(own, ignore_errors=True)
        except (ChaperoninError, Refusal) as error:
            self._end(id, status=FAILED, error=str(error))
        # A job must not end the thread; what it was is in the log, and that it failed in the table.
        except Exception:
            log.exception("job %s failed", id)
            self._end(id, status=FAILED, error="Something went wrong here; the server's log says what.")
        else:
            self._enter_files(id, own)
            total = outcome.done + outcome.failed
            status = FAILED if total and not outcome.done else DONE
            self._end(id, status=status, done=outcome.done, failed=outcome.failed, total=total)

    def _end(self, id: str, **values: Any) -> None:
        if self._is(id, CANCELLED):
            shutil.rmtree(self.folder / id, ignore_errors=True)
        else:
            self._set(id, finished=_now(), **values)

    def _view(self, id: str, served: Served) -> LanguageModel:
        """The model, whose every pass is a turn between live batches; Stopped where the job is to end."""
        models = self._models
        view = copy.copy(models.base)

        def turn(work: Callable[[], Any]) -> Any:
            if self._stopping or self._is(id, CANCELLED):
                raise Stopped
            return self._queue.between(work).result()

        def encoded(tokens: Tensor, segments: Segments) -> Any:
            return turn(lambda: models.passed(models.base, served, tokens, segments))

        def contacts(tokens: Tensor, segments: Segments) -> Any:
            return turn(lambda: models.passed(models.base.contacts, served, tokens, segments))

        view.forward = encoded
        view.contacts = contacts  # type: ignore[method-assign]
        origin = dataclasses.replace(origin_of(models.base), trained=served.trained)
        view.origin = origin  # type: ignore[assignment]
        return view

    def _enter_files(self, id: str, own: Path) -> None:
        found = [path for path in sorted((own / "out").rglob("*")) if path.is_file()]
        rows = [
            (id, path.name, str(path.relative_to(own)), path.stat().st_size, _media_type(path))
            for path in found
            if path.name not in _PRIVATE
        ]
        with self._table() as table:
            table.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)

    def _forget_oldest(self) -> None:
        with self._table() as table:
            rows = table.execute(
                "SELECT id FROM jobs WHERE status NOT IN (?, ?) ORDER BY number DESC LIMIT -1 OFFSET ?",
                (QUEUED, RUNNING, self._limits.kept_jobs),
            ).fetchall()
        self._forget([id for (id,) in rows])

    def _forget(self, ids: list[str]) -> None:
        with self._table() as table:
            table.executemany("DELETE FROM files WHERE job = ?", [(id,) for id in ids])
            table.executemany("DELETE FROM jobs WHERE id = ?", [(id,) for id in ids])
        for id in ids:
            shutil.rmtree(self.folder / id, ignore_errors=True)

    def _is(self, id: str, status: str) -> bool:
        with self._table() as table:
            row = table.execute("SELECT status FROM jobs WHERE id = ?", (id,)).fetchone()
        return row is not None and row[0] == status

    def _set(self, id: str, **values: Any) -> None:
        """Change a job that was not cancelled meanwhile."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self._table() as table:
            table.execute(
                f"UPDATE jobs SET {names} WHERE id = ? AND status != ?", (*values.values(), id, CANCELLED)
            )

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each use: several threads come here, and each use is short."""
        table = sqlite3.connect(self.folder / DATABASE, timeout=30)
        try:
            with table:
                yield table
        finally:
            table.close()


DATABASE = "jobs.sqlite"
_PRIVATE = ("job.sqlite", "job.sqlite-journal", "job.lock")
_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
}


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix, "application/octet-stream")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _progress(database: Path) -> dict[str, int]:
    """Records of a running job: all, and those whose computations are on disk."""
    if not database.exists():
        return {}
    ledger = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1)
    try:
        total = ledger.execute("SELECT count(*) FROM records").fetchone()[0]
        failed = ledger.execute("SELECT count(*) FROM record_failures").fetchone()[0]
        waiting = ledger.execute(
            "SELECT count(DISTINCT needs.record) FROM needs JOIN units ON units.number = needs.unit "
            "WHERE units.status = 'pending'"
        ).fetchone()[0]
    except sqlite3.OperationalError:  # it is only being made, or is being written to
        return {}
    finally:
        ledger.close()
    return {"total": total, "failed": failed, "done": total - failed - waiting}


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    """Ids and sequences as a CSV file, in which any id is safe."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "sequence"), *rows])
