"""What people bring to be scored: tables of variants, one protein after the other, or proteins to scan."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaperonin.data.sources import FASTA_SUFFIXES, ID_COLUMNS, TABLE_SUFFIXES, Rejected, read_records
from chaperonin.data.tables import Row, read_table
from chaperonin.errors import InputError, UsageError
from chaperonin.protein.fasta import clean_id
from chaperonin.protein.lines import display_name
from chaperonin.protein.sequence import clean
from chaperonin.protein.variant import (
    MISSING,
    WILD_TYPE_NAMES,
    Variant,
    apply_variant,
    is_indel,
    parse_variant,
    undo_variant,
    variant_between,
)

MUTANT = "mutant"
MUTATED = "mutated_sequence"
WILD_TYPE_COLUMNS = ("target_seq", "wild_type_sequence", "wt_sequence", "wt_seq", "sequence")
"""Columns that may hold the unchanged protein of a row, the first that is there wins."""

WildTypeOf = Callable[[Mapping[str, str]], str]
"""Cells of a row → its unchanged protein; raises InputError."""


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One row of a table: the variant of a protein, or why there is none."""

    id: str
    where: str
    columns: dict[str, str]
    wild_type: str
    variant: Variant
    """Empty for an insertion or deletion, and for the wild type itself."""
    mutated: str
    error: InputError | None = None

    @property
    def is_indel(self) -> bool:
        """Whether residues were inserted or deleted."""
        return self.error is None and is_indel(self.wild_type, self.mutated)


@dataclass(frozen=True)
class VariantFile:
    """One table of variants, usually one assay. Rows are read from disk at every call."""

    path: Path
    name: str
    """File name without its suffixes; ProteinGym's DMS_id."""
    header: tuple[str, ...]
    wild_type: WildTypeOf
    first: int
    """Number of the first residue in the notation of the file."""

    def rows(self) -> Iterator[VariantRow]:
        """Every row once, in file order."""
        file = display_name(self.path)
        id_column = _id_column(self.header)
        for number, row in enumerate(read_table(self.path).rows, start=1):
            id = clean_id(row.columns.get(id_column, "") if id_column else "")[0]
            id = id or clean_id(row.columns.get(MUTANT, ""))[0] or f"row_{number}"
            where = f"{file}:{row.line}"
            try:
                wild_type, variant, mutated = self._read(row)
            except InputError as error:
                located = InputError(error.what, where=where, advice=error.advice)
                yield VariantRow(id, where, row.columns, "", (), "", located)
            else:
                yield VariantRow(id, where, row.columns, wild_type, variant, mutated)

    def _read(self, row: Row) -> tuple[str, Variant, str]:
        if row.error is not None:
            raise row.error
        wild_type = self.wild_type(row.columns)
        text, mutated = _cells(row.columns)
        if text is None:
            if is_indel(wild_type, mutated):
                return wild_type, (), mutated
            return wild_type, variant_between(wild_type, mutated, self.first), mutated
        variant = parse_variant(text)
        applied = apply_variant(variant, wild_type, self.first)
        if mutated and mutated != applied:
            raise InputError(
                f"{MUTANT} {text[:40]} and {MUTATED} disagree: {_difference(applied, mutated, self.first)}",
                advice="Correct one of them, or leave one of the two columns out.",
            )
        return wild_type, variant, applied


def variant_files(path: Path) -> list[Path]:
    """The tables of variants that the input is made of; empty where it holds proteins to scan instead.

    UsageError where a folder mixes both.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    tables = [file for file in files if _suffix(file) in TABLE_SUFFIXES and _holds_variants(file)]
    proteins = [
        file for file in files if file not in tables and _suffix(file) in (*FASTA_SUFFIXES, *TABLE_SUFFIXES)
    ]
    if tables and proteins:
        raise UsageError(
            f"the folder has tables of variants ({display_name(tables[0])}) and proteins to scan "
            f"({display_name(proteins[0])})",
            where=str(path),
            advice="Score them one after the other.",
        )
    return tables


def stem(path: Path) -> str:
    """Name of the file without `.csv`, `.csv.gz` and the like."""
    return Path(display_name(path).removesuffix(".gz")).stem


def _holds_variants(path: Path) -> bool:
    try:
        header = read_table(path).header
    except InputError:
        return False  # reported when its records are read
    written = {name.lower(): name for name in header}
    for wanted in (MUTANT, MUTATED):
        if wanted in written and wanted not in header:
            raise UsageError(
                f"the column {written[wanted]!r} must be written {wanted!r}",
                where=str(path),
                advice="Rename it.",
            )
    return MUTANT in header or MUTATED in header


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _id_column(header: tuple[str, ...]) -> str | None:
    return next((name for name in ID_COLUMNS if name in header), None)


def _cells(columns: Mapping[str, str]) -> tuple[str | None, str]:
    """Notation of the variant (None: only a sequence is there) and the mutated sequence (empty: not there)."""
    text, mutated = columns.get(MUTANT, "").strip(), columns.get(MUTATED, "").strip()
    if mutated.upper() in MISSING:
        mutated = ""
    if mutated:
        mutated = clean(mutated).sequence
    if text.upper() in MISSING and mutated:
        return None, mutated
    if text.isalpha() and text.upper() not in WILD_TYPE_NAMES | MISSING:
        # ProteinGym's tables of insertions and deletions repeat the sequence in the column of the notation.
        sequence = clean(text).sequence
        if mutated in ("", sequence):
            return None, sequence
    return text, mutated


def _difference(expected: str, found: str, first: int) -> str:
    if len(expected) != len(found):
        return f"the sequence has {len(found)} residues, the wild type {len(expected)}"
    index = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
    return f"at position {index + first} the notation gives {expected[index]}, the sequence {found[index]}"


class WildTypes:
    """Finds the unchanged protein of every row.

    In this order: the target that the user names, the reference file, a column of the table, and what the
    notation and the mutated sequences together leave no doubt about.
    """

    def __init__(self, target: str | None = None, reference: Mapping[str, str] | None = None) -> None:
        self._targets = _read_target(target) if target else {}
        self._reference = reference or {}

    def open(self, path: Path, first: int = 1) -> VariantFile:
        """The table with its wild type; InputError where there is none or its rows contradict each other."""
        table = read_table(path)
        name = stem(path)
        return VariantFile(path, name, table.header, self._source(path, name, table.header, first), first)

    def _source(self, path: Path, name: str, header: tuple[str, ...], first: int) -> WildTypeOf:
        if self._targets:
            return self._from_target(name, _id_column(header))
        if name in self._reference:
            sequence = self._reference[name]
            return lambda columns: sequence
        column = next((column for column in WILD_TYPE_COLUMNS if column in header), None)
        if column is not None:
            return _from_column(column)
        sequence = _reconstructed(path, header, first)
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


def _from_column(column: str) -> WildTypeOf:
    known: dict[str, str] = {}

    def find(columns: Mapping[str, str]) -> str:
        text = columns[column]
        if text not in known:
            if len(known) > 1000:
                known.clear()
            known[text] = clean(text).sequence
        return known[text]

    return find


def target_file(target: str) -> Path | None:
    """The file that a target names, or None where it is a sequence itself. UsageError where it is neither."""
    if os.path.exists(target):  # False, not an error, for a sequence too long to be a name
        return Path(target)
    if target.isalpha():
        return None
    raise UsageError(
        f"{target[:80]!r} is neither a file nor a sequence", where="--target", advice="Check the path."
    )


def _read_target(target: str) -> dict[str, str]:
    """Sequences by id, and by each part of ids such as `sp|P62593|BLAT_ECOLX`."""
    path = target_file(target)
    if path is None:
        return {"": clean(target).sequence}
    targets: dict[str, str] = {}
    for record in read_records(path):
        if isinstance(record, Rejected):
            raise record.error
        targets[record.id] = record.sequence
    if len(targets) > 1:
        for id, sequence in list(targets.items()):
            for part in id.split("|"):
                targets.setdefault(part, sequence)
    return targets


def _reconstructed(path: Path, header: tuple[str, ...], first: int) -> str:
    """The one protein that every row with a notation and a sequence leads back to."""
    if MUTANT in header and MUTATED in header:
        found, found_line = "", 0
        for row in read_table(path).rows:
            if row.error is not None:
                continue
            try:
                text, mutated = _cells(row.columns)
                if text is None or not mutated:
                    continue
                variant = parse_variant(text)
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
