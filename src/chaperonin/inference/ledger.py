"""What a job knows: its records, its units of computation and where their results are, in one SQLite file."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from chaperonin.data.packing import plan_batches
from chaperonin.errors import ChaperoninError
from chaperonin.inference.database import Database

PENDING, DONE, FAILED = "pending", "done", "failed"
"""What a unit can be."""


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


class Ledger(Database):
    """The tables of a job and all statements on them, but those by which a plan is entered."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)

    # What the job is

    def totals(self) -> Totals:
        """How far the computations are."""
        row = self.execute(
            "SELECT total(status != ?), count(*), total((status != ?) * tokens), total(tokens) FROM units",
            PENDING,
            PENDING,
        ).fetchone()
        return Totals(*(int(value) for value in row))

    def tally(self) -> Outcome:
        """Records done and failed so far; a record whose units are pending counts as done."""
        records = self.one("SELECT count(*) FROM records")
        failed = self.one(f"SELECT count(*) FROM ({_FAILED_RECORDS})")
        return Outcome(done=records - failed, failed=failed)

    def records(self) -> Iterator[JobRecord]:
        """All records by their number."""
        rows = self.rows(_RECORDS)
        for (number, id, extra, has_failed), group in groupby(rows, key=lambda row: row[:4]):
            needs = [(key, status) for *_, key, status in group if key is not None]
            failed = bool(has_failed) or any(status == FAILED for _, status in needs)
            yield JobRecord(number, id, tuple(key for key, _ in needs), json.loads(extra), failed)

    def failures(self) -> Iterator[dict[str, Any]]:
        """What failures.jsonl holds, by record number."""
        names = ("id", "record", "stage", "error", "where", "advice")
        for row in self.rows(_FAILURES):
            yield dict(zip(names, row, strict=True))

    # What is to be done

    def pack(self, token_budget: int) -> None:
        """Give every unit its batch, once and for ever."""
        numbers: list[int] = []
        tokens: list[int] = []
        for number, count in self.rows("SELECT number, tokens FROM units ORDER BY number"):
            numbers.append(number)
            tokens.append(count)
        with self.transaction():
            self.execute_many(
                "UPDATE units SET batch = ? WHERE number = ?",
                (
                    (batch, numbers[index])
                    for batch, indices in enumerate(plan_batches(tokens, token_budget))
                    for index in indices
                ),
            )
            self.execute("CREATE INDEX IF NOT EXISTS units_by_batch ON units (batch)")
            self.note("token_budget", token_budget)

    def pending_batches(self) -> list[int]:
        """Numbers of the batches with units that are still pending."""
        statement = "SELECT DISTINCT batch FROM units WHERE status = ? ORDER BY batch"
        return [batch for (batch,) in self.execute(statement, PENDING).fetchall()]

    def pending_units(self, batch: int) -> list[Unit]:
        """Units of a batch that are still pending, longest first."""
        rows = self.execute(_UNITS_OF_BATCH, batch, PENDING).fetchall()
        return [Unit(number, key, json.loads(payload), tokens) for number, key, payload, tokens in rows]

    # What came out

    def enter(
        self,
        shard: int,
        shard_bytes: int | None,
        done: Iterable[int],
        failed: Mapping[int, tuple[str, ChaperoninError]],
    ) -> None:
        """Enter units that are done, with the shard that holds their results, and units that failed.

        shard_bytes: None where there is no such shard, as no unit is done. failed: unit → stage and error.
        """
        with self.transaction():
            if shard_bytes is not None:
                self.execute("INSERT INTO shards VALUES (?, ?)", shard, shard_bytes)
            self.execute_many(
                "UPDATE units SET status = ?, shard = ? WHERE number = ?",
                ((DONE, shard, unit) for unit in done),
            )
            self.execute_many(
                "INSERT OR REPLACE INTO unit_failures VALUES (?, ?, ?, ?, ?)",
                (
                    (unit, stage, error.what, error.where, error.advice)
                    for unit, (stage, error) in failed.items()
                ),
            )
            self.execute_many(
                "UPDATE units SET status = ? WHERE number = ?", ((FAILED, unit) for unit in failed)
            )

    def place(self, key: str) -> tuple[int, int | None]:
        """Number of a unit and of the shard with its results, None where it has none; KeyError for no unit."""
        row = self.execute("SELECT number, shard FROM units WHERE key = ?", key).fetchone()
        if row is None:
            raise KeyError(key)
        number, shard = row
        return number, shard

    def shards(self) -> dict[int, int]:
        """Shards that were entered: number → bytes."""
        return dict(self.rows("SELECT number, bytes FROM shards"))

    def reopen(self, lost_shards: Iterable[int]) -> None:
        """A finished job is one under way again, and units whose shards are lost are pending again."""
        with self.transaction():
            self.note("outcome", None)
            for shard in lost_shards:
                self.execute("UPDATE units SET status = ?, shard = NULL WHERE shard = ?", PENDING, shard)
                self.execute("DELETE FROM shards WHERE number = ?", shard)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS units (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tokens INTEGER NOT NULL, batch INTEGER,
    status TEXT NOT NULL DEFAULT 'pending', shard INTEGER);
CREATE TABLE IF NOT EXISTS payloads (unit INTEGER PRIMARY KEY, payload TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, location TEXT NOT NULL, extra TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS needs (
    record INTEGER, place INTEGER, unit INTEGER NOT NULL, PRIMARY KEY (record, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record_failures (
    record INTEGER PRIMARY KEY, stage TEXT NOT NULL, error TEXT NOT NULL, location TEXT NOT NULL,
    advice TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unit_failures (
    unit INTEGER PRIMARY KEY, stage TEXT NOT NULL, error TEXT NOT NULL, location TEXT NOT NULL,
    advice TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shards (number INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);
"""
# Payloads have a table of their own: a change of status would write them again.
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
