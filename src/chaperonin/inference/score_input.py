"""What people bring to be scored: tables of variants, one protein after the other, or proteins to scan."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaperonin.data.sources import FASTA_SUFFIXES, ID_COLUMNS, SEQUENCE_COLUMNS, TABLE_SUFFIXES
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
    variant_between,
)

MUTANT = "mutant"
MUTATED = "mutated_sequence"

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
    """File name without its suffixes (ProteinGym's DMS_id), or with them where two files differ in them only."""
    header: tuple[str, ...]
    wild_type: WildTypeOf
    first: int
    """Number of the first residue in the notation of the file."""
    unknown: str | None = None
    """What the letter J is read as; None refuses it."""

    def rows(self) -> Iterator[VariantRow]:
        """Every row once, in file order."""
        file = display_name(self.path)
        id_column = name_column(self.header)
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
        text, mutated = variant_cells(row.columns, self.unknown)
        if text is None:
            if is_indel(wild_type, mutated):
                return wild_type, (), mutated
            return wild_type, variant_between(wild_type, mutated, self.first), mutated
        variant = parse_variant(text, self.unknown)
        applied = apply_variant(variant, wild_type, self.first)
        if mutated and mutated != applied:
            raise InputError(
                f"{MUTANT} {text[:40]} and {MUTATED} disagree: {_difference(applied, mutated, self.first)}",
                advice="Correct one of them, or leave one of the two columns out.",
            )
        return wild_type, variant, applied


@dataclass(frozen=True)
class Unreadable:
    """A file of a folder that cannot be read at all: one failed record."""

    name: str
    error: InputError


def variant_files(path: Path) -> Sequence[Path | Unreadable]:
    """The files of the input where it is made of tables of variants; empty where it holds proteins to scan instead.

    In a folder of tables, every other file that is not hidden is unreadable; UsageError where it holds proteins too.
    """
    if not path.is_dir():
        kind = _kind(path)
        if isinstance(kind, UsageError):
            raise kind
        return [path] if kind == _VARIANTS else []
    kinds = {file: _kind(file) for file in sorted(path.iterdir()) if not file.name.startswith(".")}
    tables = [file for file, kind in kinds.items() if kind == _VARIANTS or isinstance(kind, UsageError)]
    proteins = [file for file, kind in kinds.items() if kind == _PROTEINS]
    if tables and proteins:
        raise UsageError(
            f"the folder has tables of variants ({display_name(tables[0])}) and proteins to scan "
            f"({display_name(proteins[0])})",
            where=str(path),
            advice="Score them one after the other.",
        )
    return [file if kind == _VARIANTS else _unreadable(file, kind) for file, kind in kinds.items() if tables]


_VARIANTS, _PROTEINS = "variants", "proteins"


def _kind(path: Path) -> str | InputError | UsageError:
    """What a file holds, or why that cannot be said; UsageError where a column of variants is misspelt."""
    where, suffix = display_name(path), Path(path.name.removesuffix(".gz")).suffix.lower()
    if not path.is_file():
        return InputError("this is no file", where=where, advice="Folders inside a folder are not read.")
    if suffix in FASTA_SUFFIXES:
        return _PROTEINS
    if suffix not in TABLE_SUFFIXES:
        return InputError(
            f"the suffix {suffix!r} says nothing about the format",
            where=where,
            advice=f"Tables of variants end with {', '.join(TABLE_SUFFIXES)}.",
        )
    try:
        header = read_table(path).header
    except InputError as error:
        return error
    written = {name.lower(): name for name in header}
    for wanted in (MUTANT, MUTATED):
        if wanted in written and wanted not in header:
            what = f"the column {written[wanted]!r} must be written {wanted!r}"
            return UsageError(what, where=where, advice="Rename it.")
    if MUTANT in header or MUTATED in header:
        return _VARIANTS
    if any(name.lower() in written for name in SEQUENCE_COLUMNS):
        return _PROTEINS
    return InputError(f"has no column {MUTANT} and no column {MUTATED}", where=where, advice="Name them so.")


def _unreadable(path: Path, reason: str | InputError | UsageError) -> Unreadable:
    assert not isinstance(reason, str)
    return Unreadable(display_name(path), InputError(reason.what, where=reason.where, advice=reason.advice))


def stem(path: Path) -> str:
    """Name of the file without `.csv`, `.csv.gz` and the like."""
    return Path(display_name(path).removesuffix(".gz")).stem


def name_column(header: tuple[str, ...]) -> str | None:
    """The column that names the rows."""
    return next((name for name in ID_COLUMNS if name in header), None)


def variant_cells(columns: Mapping[str, str], unknown: str | None = None) -> tuple[str | None, str]:
    """Notation of the variant (None: only a sequence is there) and the mutated sequence (empty: not there)."""
    text, mutated = columns.get(MUTANT, "").strip(), columns.get(MUTATED, "").strip()
    if mutated.upper() in MISSING:
        mutated = ""
    if mutated:
        mutated = clean(mutated, unknown).sequence
    if text.upper() in MISSING and mutated:
        return None, mutated
    if text.isalpha() and text.upper() not in WILD_TYPE_NAMES | MISSING:
        # ProteinGym's tables of insertions and deletions repeat the sequence in the column of the notation.
        sequence = clean(text, unknown).sequence
        if mutated in ("", sequence):
            return None, sequence
    return text, mutated


def _difference(expected: str, found: str, first: int) -> str:
    if len(expected) != len(found):
        return f"the sequence has {len(found)} residues, the wild type {len(expected)}"
    index = next(i for i, (a, b) in enumerate(zip(expected, found, strict=True)) if a != b)
    return f"at position {index + first} the notation gives {expected[index]}, the sequence {found[index]}"
