"""A job: many records, the computations they need, and results that survive a kill at any moment.

OUTDIR/job.sqlite holds the state, OUTDIR/shards the results. A shard is written under another name, synced,
renamed, and only then entered in the database: so whatever the database names is complete, and whatever it
does not name is removed when the job is opened again.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from chaperonin.data.packing import plan_batches
from chaperonin.errors import ChaperoninError, UsageError
from chaperonin.files import atomic_file, disk_errors
from chaperonin.inference.ledger import DONE, FAILED, PENDING, Ledger
from chaperonin.inference.lock import FolderLock
from chaperonin.inference.plan import Plan
from chaperonin.inference.settings import require_same_settings
from chaperonin.inference.shards import Arrays, Shards

FLUSH_BYTES = 64 << 20
"""Results that are written as one shard."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One computation: its key, what to compute, and its cost in tokens."""

    number: int
    key: str
    payload: dict[str, Any]
    tokens: int


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One input record and the keys of the units whose results it needs; none when it failed before."""

    number: int
    id: str
    units: tuple[str, ...]
    extra: dict[str, Any]
    failed: bool

    @property
    def unit(self) -> str:
        """The key of its only unit."""
        (key,) = self.units
        return key


@dataclass(frozen=True)
class Totals:
    """How far the computations are, in units and in tokens; finished means done or failed."""

    units_finished: int
    units: int
    tokens_finished: int
    tokens: int


@dataclass(frozen=True)
class Outcome:
    """How many records have a result, and how many a line in failures.jsonl."""

    done: int
    failed: int

    @property
    def exit_code(self) -> int:
        """0 all done, 1 nothing done, 3 some failed."""
        if self.done == 0:
            return 1
        return 3 if self.failed else 0


class Job:
    """A job that is open in this process; use it as a context manager."""

    def __init__(
        self, outdir: Path, ledger: Ledger, lock: FolderLock, flush_bytes: int, flush_seconds: float
    ):
        """For `Job.open`."""
        self.outdir = outdir
        self._ledger = ledger
        self._lock = lock
        self._shards = Shards(outdir / "shards")
        self._results: dict[int, Arrays] = {}
        self._failures: dict[int, tuple[str, ChaperoninError]] = {}
        self._waiting_bytes = 0
        self._waiting_entries = 0
        self._last_flush = time.monotonic()
        self._flush_bytes = flush_bytes
        self._flush_seconds = flush_seconds

    @classmethod
    def open(
        cls,
        outdir: Path | str,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        *,
        flush_bytes: int = FLUSH_BYTES,
        flush_seconds: float = 10.0,
    ) -> "Job":
        """Begin a job in OUTDIR, or go on with the one that is there.

        `settings` is all that the results depend on, as JSON can hold it. A job of other settings, or one
        that another process works on, is refused with UsageError; `overwrite` removes the job that is there,
        its own files only. Results are written when there are `flush_bytes` of them, or every
        `flush_seconds`.
        """
        outdir = Path(outdir)
        with disk_errors(outdir):
            try:
                outdir.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise UsageError("OUTDIR is a file", where=str(outdir), advice="Name a folder.") from error
            except FileNotFoundError as error:
                raise UsageError(
                    "OUTDIR cannot be made", where=str(outdir), advice="Choose another."
                ) from error
            lock = FolderLock(outdir / "job.lock")
        try:
            if overwrite:
                _remove(outdir)
            job = cls(outdir, Ledger(outdir / DATABASE), lock, flush_bytes, flush_seconds)
        except BaseException:
            lock.release()
            raise
        try:
            job._compare(json.loads(json.dumps(settings)))
            with disk_errors(outdir):
                job._verify()
        except BaseException:
            job.close()
            raise
        return job

    def __enter__(self) -> "Job":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except ChaperoninError:
            if error is None:  # else the first error says more
                raise
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the files; results that were not flushed are lost, and computed again next time."""
        self._shards.close()
        self._ledger.close()
        self._lock.release()

    # What the job is

    @property
    def planned(self) -> bool:
        """Whether its records and units are known."""
        return self._ledger.fact("planned") is not None

    @property
    def token_budget(self) -> int | None:
        """Tokens per batch, once batches were made."""
        budget: int | None = self._ledger.fact("token_budget")
        return budget

    @property
    def outcome(self) -> Outcome | None:
        """What came out, once the job is finished and its files are there."""
        outcome = self._ledger.fact("outcome")
        return None if outcome is None else Outcome(**outcome)

    @property
    def totals(self) -> Totals:
        """How far the computations are."""
        self.flush()
        row = self._ledger.execute(
            "SELECT total(status != ?1), count(*), total((status != ?1) * tokens), total(tokens) FROM units",
            PENDING,
        ).fetchone()
        return Totals(*(int(value) for value in row))

    def tally(self) -> Outcome:
        """Records done and failed so far; a record whose units are pending counts as done."""
        self.flush()
        records = self._ledger.one("SELECT count(*) FROM records")
        failed = self._ledger.one(f"SELECT count(*) FROM ({_FAILED_RECORDS})")
        return Outcome(done=records - failed, failed=failed)

    def records(self) -> Iterator[JobRecord]:
        """All records by their number."""
        self.flush()
        rows = self._ledger.rows(_RECORDS)
        for (number, id, extra, has_failed), group in groupby(rows, key=lambda row: row[:4]):
            needs = [(key, status) for *_, key, status in group if key is not None]
            failed = bool(has_failed) or any(status == FAILED for _, status in needs)
            yield JobRecord(number, id, tuple(key for key, _ in needs), json.loads(extra), failed)

    def failures(self) -> Iterator[dict[str, Any]]:
        """What failures.jsonl holds, by record number."""
        self.flush()
        for id, number, stage, error, where, advice in self._ledger.rows(_FAILURES):
            yield {
                "id": id,
                "record": number,
                "stage": stage,
                "error": error,
                "where": where,
                "advice": advice,
            }

    # What is to be done

    @contextmanager
    def planning(self) -> Iterator[Plan]:
        """Enter units and records; all of them, or none where the block fails or the process is killed."""
        with self._ledger.transaction():
            yield Plan(self._ledger)
            self._ledger.note("planned", True)

    def batches(self, token_budget: int) -> Iterator[list[Unit]]:
        """Units that are still pending, in batches that are made once and stay the same ever after.

        A later call with another budget gives the batches of the first, so that results do not depend on
        where the job was interrupted. Between two batches, results are flushed when it is time.
        """
        self.flush()
        self._last_flush = time.monotonic()
        if self._ledger.fact("token_budget") is None:
            self._pack(token_budget)
        pending = self._ledger.execute(
            "SELECT DISTINCT batch FROM units WHERE status = ? ORDER BY batch", PENDING
        ).fetchall()
        for (batch,) in pending:
            rows = self._ledger.execute(_UNITS_OF_BATCH, batch, PENDING).fetchall()
            yield [Unit(number, key, json.loads(payload), tokens) for number, key, payload, tokens in rows]
            self._flush_when_due()  # here only: what is left of a batch would be another batch
        self.flush()

    def _pack(self, token_budget: int) -> None:
        numbers: list[int] = []
        tokens: list[int] = []
        for number, count in self._ledger.rows("SELECT number, tokens FROM units ORDER BY number"):
            numbers.append(number)
            tokens.append(count)
        with self._ledger.transaction():
            self._ledger.execute_many(
                "UPDATE units SET batch = ? WHERE number = ?",
                (
                    (batch, numbers[index])
                    for batch, indices in enumerate(plan_batches(tokens, token_budget))
                    for index in indices
                ),
            )
            self._ledger.execute("CREATE INDEX IF NOT EXISTS units_by_batch ON units (batch)")
            self._ledger.note("token_budget", token_budget)

    # What came out

    def store(self, batch: Sequence[Unit], results: Sequence[Mapping[str, Any]]) -> None:
        """Keep the arrays of each unit; they are on disk after the next flush, which `batches` sees to."""
        for unit, result in zip(batch, results, strict=True):
            # A copy: a slice would keep the whole batch in memory.
            arrays = {name: np.array(array, order="C") for name, array in result.items()}
            self._results[unit.number] = arrays
            self._waiting_bytes += sum(array.nbytes for array in arrays.values())
            self._waiting_entries += len(arrays)

    def fail(self, unit: Unit, error: ChaperoninError, stage: str = "compute") -> None:
        """Give a unit up: every record that needs it has failed. On disk after the next flush, as a result."""
        self._failures[unit.number] = (stage, error)
        self._waiting_entries += 1

    def flush(self) -> None:
        """Write the stored results as one shard, then enter them and the failures in the database."""
        if not self._results and not self._failures:
            return
        number = (self._ledger.one("SELECT max(number) FROM shards") or 0) + 1
        size = self._shards.write(number, self._results) if self._results else None
        with self._ledger.transaction():
            if size is not None:
                self._ledger.execute("INSERT INTO shards VALUES (?, ?)", number, size)
            self._ledger.execute_many(
                "UPDATE units SET status = ?, shard = ? WHERE number = ?",
                ((DONE, number, unit) for unit in self._results),
            )
            self._ledger.execute_many(
                "INSERT OR REPLACE INTO unit_failures VALUES (?, ?, ?, ?, ?)",
                (
                    (unit, stage, error.what, error.where, error.advice)
                    for unit, (stage, error) in self._failures.items()
                ),
            )
            self._ledger.execute_many(
                "UPDATE units SET status = ? WHERE number = ?", ((FAILED, unit) for unit in self._failures)
            )
        self._results, self._failures = {}, {}
        self._waiting_bytes = self._waiting_entries = 0
        self._last_flush = time.monotonic()

    def _flush_when_due(self) -> None:
        if (
            self._waiting_bytes >= self._flush_bytes
            or self._waiting_entries >= _FLUSH_ENTRIES
            or time.monotonic() - self._last_flush >= self._flush_seconds
        ):
            self.flush()

    def result(self, key: str, *names: str) -> Arrays:
        """The arrays of a unit, or those of some names only; KeyError where it has no result.

        Reading is cheap in any order of units: the shards stay open.
        """
        row = self._ledger.execute("SELECT number, shard FROM units WHERE key = ?", key).fetchone()
        if row is None:
            raise KeyError(key)
        number, shard = row
        if number in self._results:
            waiting = self._results[number]
            return {name: waiting[name] for name in names or waiting}
        if shard is None:
            raise KeyError(f"{key}: its unit is not done")
        return self._shards.read(shard, number, names)

    def finish(self, files: Sequence[Path] = ()) -> Outcome:
        """Write failures.jsonl and end the job, whose final `files` are in place; then remove the shards.

        Opened again, the job has this outcome as long as the files are there. Without files, the shards stay.
        """
        totals = self.totals
        if totals.units_finished < totals.units:
            raise ValueError(f"{totals.units - totals.units_finished} units of the job are still pending")
        if missing := [str(path) for path in files if not path.exists()]:
            raise ValueError(f"final files that are not there: {missing}")
        with (
            atomic_file(self.outdir / FAILURES) as temporary,
            open(temporary, "w", encoding="utf-8") as lines,
        ):
            for failure in self.failures():
                lines.write(json.dumps(failure, ensure_ascii=False) + "\n")
        outcome = self.tally()
        with self._ledger.transaction():
            self._ledger.note("files", {_relative(path, self.outdir): path.stat().st_size for path in files})
            self._ledger.note("outcome", asdict(outcome))
        if files:
            self._shards.remove()
        return outcome

    # Opening

    def _compare(self, settings: dict[str, Any]) -> None:
        stored = self._ledger.fact("settings")
        if stored is None:
            with self._ledger.transaction():
                self._ledger.note("settings", settings)
            return
        require_same_settings(stored, settings, self.outdir)

    def _verify(self) -> None:
        """Compute again what is no longer there; remove what was never entered."""
        outcome, files = self._ledger.fact("outcome"), self._ledger.fact("files") or {}
        if outcome is not None and (self.outdir / FAILURES).is_file() and self._are_whole(files):
            if files:
                self._shards.remove()
            return
        sizes = dict(self._ledger.rows("SELECT number, bytes FROM shards"))
        missing = self._shards.keep_only(sizes)
        if outcome is None and not missing:
            return
        with self._ledger.transaction():
            self._ledger.note("outcome", None)
            for shard in missing:
                self._ledger.execute(
                    "UPDATE units SET status = ?, shard = NULL WHERE shard = ?", PENDING, shard
                )
                self._ledger.execute("DELETE FROM shards WHERE number = ?", shard)

    def _are_whole(self, sizes: Mapping[str, int]) -> bool:
        """Whether the final files are there and as long as they were."""
        paths = {self.outdir / name: size for name, size in sizes.items()}
        return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


DATABASE = "job.sqlite"
FAILURES = "failures.jsonl"
_OWN_FILES = (DATABASE, f"{DATABASE}-journal", FAILURES, "run.json", "report.html")
_FLUSH_ENTRIES = 20_000  # a shard's header names each array

_RECORDS = """
SELECT records.number, records.id, records.extra, record_failures.record IS NOT NULL, units.key, units.status
FROM records
LEFT JOIN record_failures ON record_failures.record = records.number
LEFT JOIN needs ON needs.record = records.number
LEFT JOIN units ON units.number = needs.unit
ORDER BY records.number, needs.place
"""
_UNITS_OF_BATCH = """
SELECT units.number, units.key, payloads.payload, units.tokens
FROM units JOIN payloads ON payloads.unit = units.number
WHERE units.batch = ? AND units.status = ? ORDER BY units.tokens DESC, units.number
"""
_FIRST_FAILED_NEEDS = """
SELECT needs.record AS record, min(needs.place) AS place
FROM needs JOIN unit_failures ON unit_failures.unit = needs.unit GROUP BY needs.record
"""
_FAILED_RECORDS = f"SELECT record FROM record_failures UNION SELECT record FROM ({_FIRST_FAILED_NEEDS})"
_FAILURES = f"""
SELECT records.id, records.number, stage, error, record_failures.location, advice
FROM record_failures JOIN records ON records.number = record_failures.record
UNION ALL
SELECT records.id, records.number, stage, error,
    coalesce(nullif(unit_failures.location, ''), records.location), advice
FROM ({_FIRST_FAILED_NEEDS}) AS first
JOIN needs ON needs.record = first.record AND needs.place = first.place
JOIN unit_failures ON unit_failures.unit = needs.unit
JOIN records ON records.number = first.record
ORDER BY 2
"""


def _relative(path: Path, outdir: Path) -> str:
    """The path as seen from OUTDIR where it is inside, so that the folder may be moved; else the whole path."""
    path, outdir = path.resolve(), outdir.resolve()
    return str(path.relative_to(outdir) if path.is_relative_to(outdir) else path)


def _remove(outdir: Path) -> None:
    """Remove the files of the job that is in the folder, and nothing else."""
    files: dict[str, int] = {}
    if (outdir / DATABASE).exists():
        try:
            ledger = Ledger(outdir / DATABASE)
        except ChaperoninError:  # a damaged job is removed too
            pass
        else:
            files = ledger.fact("files") or {}
            ledger.close()
    own = [outdir / name for name in _OWN_FILES]
    named = [outdir / file for file in files if not Path(file).is_absolute()]
    pictures = [path.with_suffix(".png") for path in named if path.suffix == ".npz"]
    for path in (*named, *pictures, *own):
        if path.is_file():
            path.unlink()
    Shards(outdir / "shards").remove()
