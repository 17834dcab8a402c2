"""One SQLite file whose errors are the user's to act on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from chaperonin.errors import ChaperoninError, InputError
from chaperonin.files import no_space


class Database:
    """Statements, transactions and noted facts.

    The rollback journal with full synchronisation outlasts kills and power cuts, and needs no shared memory,
    which network file systems do not have. Commits are rare, so a write-ahead log would gain nothing.
    """

    def __init__(self, path: Path, schema: str) -> None:
        """Open the file, and make the tables that are not there."""
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA cache_size = -65536")
            self._connection.executescript(f"BEGIN IMMEDIATE; {_FACTS}{schema} COMMIT;")
        except sqlite3.DatabaseError as error:
            self._failed(error)

    def close(self) -> None:
        """Close the file; the state is in it."""
        self._connection.close()

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement."""
        try:
            return self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            self._failed(error)

    def execute_many(self, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
        """Run one statement for each row."""
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.DatabaseError as error:
            self._failed(error)

    def rows(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, as they are read."""
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            self._failed(error)

    def one(self, statement: str, *values: Any) -> Any:
        """The only value of a query, None where there is no row."""
        row = self.execute(statement, *values).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements of the block, or none of them."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def fact(self, name: str) -> Any:
        """What was noted under a name; None where nothing was."""
        value = self.one("SELECT value FROM facts WHERE name = ?", name)
        return None if value is None else json.loads(value)

    def note(self, name: str, value: Any) -> None:
        """Note a value under a name; None forgets it."""
        if value is None:
            self.execute("DELETE FROM facts WHERE name = ?", name)
        else:
            self.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", name, json.dumps(value, sort_keys=True)
            )

    def _failed(self, error: sqlite3.DatabaseError) -> NoReturn:
        """Raise what the user can act on; an error of ours as it is."""
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            raise no_space(self.path) from error
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise ChaperoninError(
                f"the disk refused to read or write ({error})",
                where=str(self.path),
                advice="Check space, quota and permissions, then run the same command again: it goes on.",
            ) from error
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            raise InputError(
                f"the state of the job cannot be read ({error})",
                where=str(self.path),
                advice="Start afresh with --overwrite, or choose another OUTDIR.",
            ) from error
        raise error


_FACTS = "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
