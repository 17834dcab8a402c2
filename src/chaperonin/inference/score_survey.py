"""From input to plan: which records there are, which passes each of them needs, and what they cost."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from chaperonin.data.sources import Rejected, read_records
from chaperonin.errors import ChaperoninError, InputError, UsageError
from chaperonin.inference.jobs import Plan
from chaperonin.inference.score_input import Unreadable, VariantFile, VariantRow
from chaperonin.inference.score_plan import (
    UNIT_TOKENS,
    Protocol,
    TokenPlan,
    Work,
    masked_work,
    official_cost,
    plain_work,
    pseudo_likelihood_work,
)
from chaperonin.inference.score_wild_types import Tables
from chaperonin.protein.variant import indices

log = logging.getLogger(__name__)

_SHOWN_FAILURES = 3

MARGINALS = ("masked-marginal", "wt-marginal")
"""Protocols that read changed positions of the wild type; the others read whole mutated sequences."""


class Entries:
    """Takes records and work as they are found, counts them, and enters them in a job's plan if there is one."""

    def __init__(
        self, plan: Plan | None = None, longest: int | None = None, unit_tokens: int = UNIT_TOKENS
    ) -> None:
        """`longest` is the most residues that the model can take in one pass; None is no limit.

        `unit_tokens` is the most tokens of masked passes that are computed together.
        """
        self._plan = plan
        self.longest = longest
        self.unit_tokens = unit_tokens
        self._entered: set[bytes] = set()
        self.cost = TokenPlan()
        self.records = self.failed = 0
        self.first_failures: list[ChaperoninError] = []

    def work(self, works: Iterable[Work]) -> list[str]:
        """Enter all passes over one protein, equal ones once, and return their keys."""
        keys: list[str] = []
        known = False
        for work in works:
            if (
                not keys
            ):  # the first key stands for all of them: thousands of proteins have millions of passes
                name = blake2b(work.key.encode(), digest_size=12).digest()
                known = name in self._entered
                self._entered.add(name)
            keys.append(work.key)
            if not known:
                self.cost += TokenPlan(work.passes, work.tokens)
                if self._plan is not None:
                    self._plan.unit(work.key, work.payload, work.tokens)
        return keys

    def record(self, id: str, keys: Iterable[str], extra: dict[str, Any], where: str) -> None:
        """Enter the next record and what it needs."""
        self.records += 1
        if self._plan is not None:
            self._plan.record(self.records, id, list(dict.fromkeys(keys)), extra, where)

    def failure(self, id: str, error: ChaperoninError) -> None:
        """Enter the next record, which cannot be scored."""
        self.records += 1
        self.failed += 1
        if self.failed <= _SHOWN_FAILURES:
            self.first_failures.append(error)
        if self._plan is not None:
            self._plan.failure(self.records, id, error)


def enter_tables(tables: Tables, protocol: Protocol, official: bool, entries: Entries) -> None:
    """Enter every row of the tables. Positions of equal proteins are gathered over all tables first."""
    surveys = [
        None if isinstance(table, Unreadable) else _survey(table, protocol, official) for table in tables
    ]
    targets: dict[str, set[int]] = {}
    for survey in surveys:
        if survey is not None and survey.protocol in MARGINALS:
            for sequence, positions in survey.targets.items():
                targets.setdefault(sequence, set()).update(positions)
                entries.cost += official_cost(protocol, sequence)
    keys = {
        sequence: _marginal_keys(sequence, found, protocol, entries) for sequence, found in targets.items()
    }
    for table, survey in zip(tables, surveys, strict=True):
        if isinstance(table, Unreadable) or survey is None:
            assert isinstance(table, Unreadable)
            entries.failure(table.name, table.error)
            continue
        for row in table.rows():
            if row.error is not None:
                entries.failure(row.id, row.error)
            elif survey.protocol in MARGINALS:
                found = keys[row.wild_type]
                needed = [
                    key for index in indices(row.variant, row.wild_type, table.first) for key in found[index]
                ]
                entries.record(row.id, needed, {"protocol": survey.protocol}, row.where)
            elif official and entries.longest is not None and len(row.mutated) > entries.longest:
                entries.failure(row.id, _too_long(row, entries.longest))
            else:
                needed = _sequence_keys(row, survey.protocol, official, entries)
                entries.cost += official_cost(survey.protocol, row.mutated)
                entries.record(row.id, needed, {"protocol": survey.protocol}, row.where)


def enter_scan(source: Path, protocol: Protocol, entries: Entries, unknown: str | None = None) -> None:
    """Enter every protein of the input, to be scanned at all its positions; `unknown` as in `read_records`."""
    if protocol not in MARGINALS:
        raise UsageError(
            f"a saturation scan by {protocol} would run every mutated sequence on its own",
            where="--protocol",
            advice="Scan with masked-marginal or wt-marginal, or bring a table of the variants you need.",
        )
    notes: Counter[str] = Counter()
    for record in read_records(source, unknown):
        if isinstance(record, Rejected):
            entries.failure(record.id, record.error)
            continue
        notes.update(note.partition(":")[0] for note in record.notes)
        entries.cost += official_cost(protocol, record.sequence)
        positions = range(len(record.sequence))
        keys = entries.work(_marginal_work(record.sequence, positions, protocol, entries.unit_tokens))
        entries.record(record.id, keys, {"protocol": protocol}, record.where)
    for note, count in notes.most_common():
        log.info("%d proteins: %s", count, note)


@dataclass(frozen=True)
class _Survey:
    protocol: Protocol
    targets: dict[str, set[int]]


def _survey(table: VariantFile, protocol: Protocol, official: bool) -> _Survey:
    targets: dict[str, set[int]] = {}
    rows = indels = 0
    if protocol not in MARGINALS:
        return _Survey(protocol, targets)
    for row in table.rows():
        if row.error is None:
            rows += 1
            indels += row.is_indel
            positions = indices(row.variant, row.wild_type, table.first)
            targets.setdefault(row.wild_type, set()).update(positions)
    if not indels:
        return _Survey(protocol, targets)
    # One protocol for the whole table: scores of different protocols cannot be ranked together.
    instead: Protocol = "pseudo-likelihood" if official else "indel"
    log.info(
        "%s: %d of %d variants have insertions or deletions, so all are scored by %s instead of %s",
        table.name,
        indels,
        rows,
        instead,
        protocol,
    )
    return _Survey(instead, {})


def _marginal_work(
    sequence: str, positions: Iterable[int], protocol: Protocol, unit_tokens: int
) -> Iterable[Work]:
    if protocol == "masked-marginal":
        return masked_work(sequence, positions, unit_tokens=unit_tokens)
    return plain_work(sequence, positions)


def _marginal_keys(
    sequence: str, positions: set[int], protocol: Protocol, entries: Entries
) -> dict[int, list[str]]:
    """Keys that each position needs: one masked group, or all windows that see it."""
    needed: dict[int, list[str]] = {position: [] for position in positions}

    def noted() -> Iterable[Work]:
        for work in _marginal_work(sequence, positions, protocol, entries.unit_tokens):
            for position in work.payload["positions"]:
                needed[position].append(work.key)
            yield work

    entries.work(noted())
    return needed


def _too_long(row: VariantRow, longest: int) -> InputError:
    return InputError(
        f"{len(row.mutated):,} residues; ProteinGym's script takes them in one pass, this model at most {longest:,}",
        where=row.where,
        advice="Leave --compat official out: then long proteins are scored in windows.",
    )


def _sequence_keys(row: VariantRow, protocol: Protocol, official: bool, entries: Entries) -> list[str]:
    """Keys of the passes that a row of whole sequences needs, all entered."""
    sequences = [row.mutated] if official else [row.mutated, row.wild_type]
    return [
        key for sequence in sequences for key in entries.work(_passes(sequence, protocol, official, entries))
    ]


def _passes(sequence: str, protocol: Protocol, official: bool, entries: Entries) -> Iterable[Work]:
    if protocol == "indel":
        return plain_work(sequence, None, "own")
    return pseudo_likelihood_work(sequence, official, entries.unit_tokens)
