"""Where the unchanged protein of a variant comes from: a target, ProteinGym's reference file, a column, or the rows."""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from chaperonin.data.sources import Rejected, read_records
from chaperonin.data.tables import read_table
from chaperonin.errors import InputError, UsageError
from chaperonin.inference.score_input import (
    MUTANT,
    MUTATED,
    Unreadable,
    VariantFile,
    WildTypeOf,
    name_column,
    stem,
    variant_cells,
)
from chaperonin.protein.lines import display_name
from chaperonin.protein.sequence import clean
from chaperonin.protein.variant import apply_variant, parse_variant, undo_variant

log = logging.getLogger(__name__)

WILD_TYPE_COLUMNS = ("target_seq", "wild_type_sequence", "wt_sequence", "wt_seq", "sequence")
"""Columns that may hold the unchanged protein of a row, the first that is there wins."""

Tables = Sequence[VariantFile | Unreadable]


class WildTypes:
    """Finds the unchanged protein of every row.

    In this order: the target that the user names, the reference file, a column of the table, and what the
    notation and the mutated sequences together leave no doubt about.
    """

    def __init__(
        self,
        target: str | None = None,
        reference: Mapping[str, str] | None = None,
        unknown: str | None = None,
    ) -> None:
        """`reference` are sequences as written, by the name of a table; `unknown="X"` reads J as X."""
        self._unknown = unknown
        self._targets = _read_target(target, unknown) if target else {}
        self._reference = reference or {}

    def tables(self, source: Path, files: Sequence[Path | Unreadable], first: int = 1) -> Tables:
        """All tables. What is wrong with a single file is raised, in a folder it is that file's failure."""
        names = Counter(stem(file) for file in files if isinstance(file, Path))
        tables: list[VariantFile | Unreadable] = []
        for file in files:
            if isinstance(file, Unreadable):
                tables.append(file)
                continue
            name = stem(file) if names[stem(file)] == 1 else display_name(file)
            try:
                tables.append(self.open(file, first, name))
            except InputError as error:
                if not source.is_dir():
                    raise
                tables.append(Unreadable(name, error))
        return tables

    def open(self, path: Path, first: int = 1, name: str | None = None) -> VariantFile:
        """The table with its wild type; InputError where there is none or its rows contradict each other."""
        table = read_table(path)
        if next(table.rows, None) is None:
            raise InputError("there are no records in the file", where=display_name(path))
        wild_type = self._source(path, stem(path), table.header, first)
        return VariantFile(path, name or stem(path), table.header, wild_type, first, self._unknown)

    def _source(self, path: Path, name: str, header: tuple[str, ...], first: int) -> WildTypeOf:
        if self._targets:
            return self._from_target(name, name_column(header))
        if name in self._reference:
            return self._from_reference(name)
        column = next((column for column in WILD_TYPE_COLUMNS if column in header), None)
        if column is not None:
            return _from_column(column, self._unknown)
        sequence = _reconstructed(path, header, first, self._unknown)
        return lambda columns: sequence

    def _from_reference(self, name: str) -> WildTypeOf:
        try:
            sequence, notes = clean(self._reference[name], self._unknown)
        except InputError as error:
            where = f"reference, target_seq of {name}"
            raise InputError(error.what, where=where, advice=error.advice) from error
        for note in notes:
            log.info("reference, target_seq of %s: %s", name, note)
        return lambda columns: sequence

    def _from_target(self, name: str, id_column: str | None) -> WildTypeOf:
        if len(self._targets) == 1:
            (only,) = self._targets.values()
            return lambda columns: only

        def find(columns: Mapping[str, str]) -> str:
            for key in (columns.get(id_column, "").strip() if id_column else "", name):
                if key in self._targets:
                    return self._targets[key]
            raise InputError(
                "no target has the id of this row or the name of this file",
                advice="Give a target file of one record, or put the record's name into the column id.",
            )

        return find


def target_file(target: str, unknown: str | None = None) -> Path | None:
    """The file that a target names, or None where it is a sequence itself. UsageError where it is neither."""
    if os.path.exists(target):  # False, not an error, for a sequence too long to be a name
        return Path(target)
    if any(mark in target for mark in "/\\.~"):
        raise UsageError(f"there is no file {target[:200]!r}", where="--target", advice="Check the path.")
    try:
        clean(target, unknown)
    except InputError as error:
        raise UsageError(
            f"{target[:80]!r} is neither a file nor a sequence: {error.what}",
            where="--target",
            advice="Check the path, or the sequence.",
        ) from error
    return None


def _read_target(target: str, unknown: str | None) -> dict[str, str]:
    """Sequences by id, and by each part of ids such as `sp|P62593|BLAT_ECOLX` that only one of them has."""
    path = target_file(target, unknown)
    if path is None:
        sequence = clean(target, unknown).sequence
        log.info("--target names no file: read as a sequence of %s residues", f"{len(sequence):,}")
        return {"": sequence}
    targets: dict[str, str] = {}
    for record in read_records(path, unknown):
        if isinstance(record, Rejected):
            raise record.error
        targets[record.id] = record.sequence
    if len(targets) > 1:
        parts = Counter(part for id in targets for part in set(id.split("|")))
        whole = list(targets.items())
        targets |= {part: sequence for id, sequence in whole for part in id.split("|") if parts[part] == 1}
    return targets


def _from_column(column: str, unknown: str | None) -> WildTypeOf:
    # Rows of one protein stand together, mostly.
    cleaned = lru_cache(maxsize=8)(lambda text: clean(text, unknown).sequence)
    return lambda columns: cleaned(columns[column])


def _reconstructed(path: Path, header: tuple[str, ...], first: int, unknown: str | None) -> str:
    """The one protein that every row with a notation and a sequence leads back to."""
    if MUTANT in header and MUTATED in header:
        found, found_line = "", 0
        for row in read_table(path).rows:
            if row.error is not None:
                continue
            try:
                text, mutated = variant_cells(row.columns, unknown)
                if text is None or not mutated:
                    continue
                variant = parse_variant(text, unknown)
                if found and len(mutated) == len(found) and apply_variant(variant, found, first) == mutated:
                    continue
                wild_type = undo_variant(variant, mutated, first)
            except InputError:
                continue  # the row's own failure, met again when it is read
            if found:
                raise InputError(
                    f"the rows at lines {found_line} and {row.line} lead back to different proteins",
                    where=display_name(path),
                    advice="Name the wild type with --target, --reference or a column target_seq.",
                )
            found, found_line = wild_type, row.line
        if found:
            return found
    raise InputError(
        "the wild type is not known",
        where=display_name(path),
        advice="Name it with --target (FASTA or sequence), --reference or a column target_seq.",
    )
