"""A job: many records, the computations they need, and results that survive a kill at any moment.

OUTDIR/job.sqlite holds the state, OUTDIR/shards the results. A shard is written under another name, synced,
renamed, and only then entered in the database: so whatever the database names is complete, and whatever it
does not name is removed when the job is opened again.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from chaperonin.errors import ChaperoninError
from chaperonin.files import atomic_file, disk_errors
from chaperonin.inference.ledger import JobRecord, Ledger, Outcome, Totals, Unit
from chaperonin.inference.lock import FolderLock
from chaperonin.inference.outdir import (
    DATABASE,
    FAILURES,
    SHARDS,
    are_whole,
    make_outdir,
    remove_job,
    sizes_of,
)
from chaperonin.inference.plan import Plan
from chaperonin.inference.settings import require_same_settings
from chaperonin.inference.shards import Arrays, Shards

__all__ = ["FLUSH_BYTES", "Job", "JobRecord", "Outcome", "Plan", "Totals", "Unit"]

FLUSH_BYTES = 64 << 20
"""Results that are written as one shard."""
_FLUSH_ENTRIES = 20_000  # a shard's header names each array


class Job:
    """A job that is open in this process; use it as a context manager."""

    def __init__(
        self, outdir: Path, ledger: Ledger, lock: FolderLock, flush_bytes: int, flush_seconds: float
    ):
        """For `Job.open`."""
        self.outdir = outdir
        self._ledger = ledger
        self._lock = lock
        self._shards = Shards(outdir / SHARDS)
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
        make_outdir(outdir)
        with disk_errors(outdir):
            lock = FolderLock(outdir / "job.lock")
        try:
            if overwrite:
                remove_job(outdir)
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
        return self._ledger.totals()

    @property
    def result_bytes(self) -> int:
        """Size of all results of the plan, done or not; 0 where the plan did not say."""
        return self._ledger.fact("result_bytes") or 0

    @property
    def missing_bytes(self) -> int:
        """Room that the disk still needs: results that are in no shard yet, and the final files beside the shards."""
        return max(0, 2 * self.result_bytes - sum(self._ledger.shards().values()))

    def tally(self) -> Outcome:
        """Records done and failed so far; a record whose units are pending counts as done."""
        self.flush()
        return self._ledger.tally()

    def records(self) -> Iterator[JobRecord]:
        """All records by their number."""
        self.flush()
        return self._ledger.records()

    def failures(self) -> Iterator[dict[str, Any]]:
        """What failures.jsonl holds, by record number."""
        self.flush()
        return self._ledger.failures()

    # What is to be done

    @contextmanager
    def planning(self) -> Iterator[Plan]:
        """Enter units and records; all of them, or none where the block fails or the process is killed."""
        with self._ledger.transaction():
            plan = Plan(self._ledger)
            yield plan
            self._ledger.note("result_bytes", plan.result_bytes)
            self._ledger.note("planned", True)

    def batches(self, token_budget: int) -> Iterator[list[Unit]]:
        """Units that are still pending, in batches that are made once and stay the same ever after.

        A later call with another budget gives the batches of the first, so that results do not depend on
        where the job was interrupted. Between two batches, results are flushed when it is time.
        """
        self.flush()
        self._last_flush = time.monotonic()
        if self._ledger.fact("token_budget") is None:
            self._ledger.pack(token_budget)
        for batch in self._ledger.pending_batches():
            yield self._ledger.pending_units(batch)
            self._flush_when_due()  # here only: what is left of a batch would be another batch
        self.flush()

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
        number = max(self._ledger.shards(), default=0) + 1
        size = self._shards.write(number, self._results) if self._results else None
        self._ledger.enter(number, size, self._results, self._failures)
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
        number, shard = self._ledger.place(key)
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
            self._ledger.note("files", sizes_of(files, self.outdir))
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
        if outcome is not None and (self.outdir / FAILURES).is_file() and are_whole(files, self.outdir):
            if files:
                self._shards.remove()
            return
        lost = self._shards.keep_only(self._ledger.shards())
        if outcome is not None or lost:
            self._ledger.reopen(lost)
