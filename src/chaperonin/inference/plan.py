"""What a job is to do, as it is entered once."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chaperonin.errors import ChaperoninError
from chaperonin.inference.ledger import Ledger


class Plan:
    """The records of a job and the computations they need, as they are entered."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.result_bytes = 0
        """Size of the results of all units, as far as it was said."""

    def unit(self, key: str, payload: Mapping[str, Any], tokens: int, result_bytes: int = 0) -> None:
        """Enter a computation; one with the same key is there already and stays as it is.

        result_bytes: the size that its result will have.
        """
        cursor = self._ledger.execute("INSERT OR IGNORE INTO units (key, tokens) VALUES (?, ?)", key, tokens)
        if cursor.rowcount:
            self._ledger.execute("INSERT INTO payloads VALUES (?, ?)", cursor.lastrowid, json.dumps(payload))
            self.result_bytes += result_bytes

    def record(
        self,
        number: int,
        id: str,
        unit: str | Sequence[str],
        extra: Mapping[str, Any] | None = None,
        where: str = "",
    ) -> None:
        """Enter a record that needs the results of one unit, or of several; they must be entered before.

        `extra` comes back with the record; `where` is where it stands in the input, for failures.jsonl.
        """
        values = (number, id, where, json.dumps(extra or {}))
        self._ledger.execute("INSERT INTO records VALUES (?, ?, ?, ?)", *values)
        for place, key in enumerate([unit] if isinstance(unit, str) else unit):
            cursor = self._ledger.execute(
                "INSERT INTO needs SELECT ?, ?, number FROM units WHERE key = ?", number, place, key
            )
            if not cursor.rowcount:
                raise ValueError(f"record {number} needs a unit that was not entered: {key}")

    def failure(self, number: int, id: str, error: ChaperoninError, stage: str = "read") -> None:
        """Enter a record that cannot have a result."""
        self.record(number, id, ())
        self._ledger.execute(
            "INSERT INTO record_failures VALUES (?, ?, ?, ?, ?)",
            number,
            stage,
            error.what,
            error.where,
            error.advice,
        )
