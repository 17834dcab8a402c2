"""Records from what people have: FASTA, CSV, TSV or Parquet files, or a folder of them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from chaperonin.data.tables import PARQUET_SUFFIX, read_table
from chaperonin.errors import InputError
from chaperonin.protein.fasta import clean_id, read_fasta, require_length
from chaperonin.protein.lines import DEFAULT_LIMITS, Limits, display_name, read_lines
from chaperonin.protein.sequence import clean

FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep", ".mpfa")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab", PARQUET_SUFFIX)
CHAIN_END = "|"
"""Between the chains of a complex, as in sets of peptides and their receptors."""
SEQUENCE_COLUMNS = ("sequence", "mutated_sequence", "protein", "seq", "Sequence", "prot_seq", "fasta")
ID_COLUMNS = ("id", "ID", "name", "acc", "ACC", "entry", "sid")


@dataclass(frozen=True, slots=True)
class Record:
    """One protein: its number in the input from 1, a unique id, a clean sequence and where it stands.

    `columns` are the cells of a table as they were, or the description of a FASTA entry.
    """

    number: int
    id: str
    sequence: str
    notes: tuple[str, ...]
    where: str
    columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rejected:
    """One place of the input that cannot be used, and why."""

    number: int
    id: str
    where: str
    error: InputError


def read_records(
    path: Path | str,
    unknown: str | None = None,
    sequence_column: str = "sequence",
    id_column: str = "id",
    limits: Limits = DEFAULT_LIMITS,
    linker: str = "",
) -> Iterator[Record | Rejected]:
    """Every record of the input exactly once and in its order, numbered 1, 2, 3, …; memory for one at a time.

    The default columns stand for the usual names too (`mutated_sequence`, `protein`, `seq`; `name`, `acc`,
    `entry`); others must be there. A record without id is `row_N`; of equal ids the second becomes `id_2`,
    unless that is the name of another one. `unknown="X"` reads `J` as X; a linker takes the place of each `|`
    between chains. In a folder, files are taken in the order of their names and hidden ones left out; a file that
    cannot be read there is one Rejected.
    InputError: the input is missing, empty or no such file.
    """
    path = Path(path)
    _require(path)
    columns = (sequence_column, id_column)
    return _records(path, unknown, limits, lambda: _entries(path, columns, limits), linker)


def fingerprint(path: Path | str) -> str:
    """SHA-256 of the bytes of a file, or of the names and bytes of all files in a folder (as hex digits)."""
    path = Path(path)
    _require(path)
    if not path.is_dir():
        return _file_digest(path)
    digest = hashlib.sha256()
    for file in _files(path):
        content = _file_digest(file) if file.is_file() else "not a file"
        digest.update(f"{display_name(file)}\n{content}\n".encode())
    return digest.hexdigest()


def csv_cell(text: str) -> str:
    """A cell no spreadsheet runs as a formula: `'` is put before `=`, `+`, `-` and `@`, except in numbers."""
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return "'" + text
    return text


class _Entry(NamedTuple):
    """What a reader found at one place, before its id is made unique and its text judged."""

    id: str
    text: str
    where: str
    notes: tuple[str, ...]
    columns: dict[str, str]
    error: InputError | None


def _records(
    path: Path,
    unknown: str | None,
    limits: Limits,
    entries: Callable[[], Iterator[_Entry]],
    linker: str,
) -> Iterator[Record | Rejected]:
    names = _Names(entries)
    number = 0
    for number, entry in enumerate(entries(), start=1):
        id, name_notes = names.unique(entry.id, number)
        error = entry.error
        if error is None:
            try:
                text = entry.text.replace(CHAIN_END, linker) if linker else entry.text
                sequence, sequence_notes = clean(text, unknown)
                require_length(len(sequence), limits)
            except InputError as refused:
                error = refused
        if error is not None:
            yield Rejected(number, id, entry.where, _located(error, entry.where))
        else:
            notes = entry.notes + name_notes + sequence_notes
            if text != entry.text:
                notes = (*notes, f"chains joined by {linker}")
            yield Record(number, id, sequence, notes, entry.where, entry.columns)
    if number == 0:
        raise InputError("there are no records in the input", where=display_name(path))


def _located(error: InputError, where: str) -> InputError:
    return InputError(error.what, where=where, advice=error.advice)


class _Names:
    """Gives every record an id of its own."""

    def __init__(self, entries: Callable[[], Iterator[_Entry]]) -> None:
        self._entries = entries
        self._given: set[str] = set()
        self._last: dict[str, int] = {}
        self._real: set[str] | None = None

    def unique(self, id: str, number: int) -> tuple[str, tuple[str, ...]]:
        """The id to use and a note where it is not the one that was given."""
        notes: tuple[str, ...] = ()
        id = id or f"row_{number}"
        if id in self._given:
            if (
                self._real is None
            ):  # read the ids once more, so that no suffix takes the name of a later record
                self._real = {entry.id for entry in self._entries()}
            count = self._last.get(id, 1) + 1
            while (name := f"{id}_{count}") in self._given or name in self._real:
                count += 1
            self._last[id] = count
            notes = (f"another record has the id {id}",)
            id = name
        self._given.add(id)
        return id, notes


def _entries(path: Path, columns: tuple[str, str], limits: Limits) -> Iterator[_Entry]:
    if not path.is_dir():
        yield from _file_entries(path, columns, limits)
        return
    for file in _files(path):
        where = display_name(file)
        try:
            _require(file)
            count = 0
            for entry in _file_entries(file, columns, limits, in_folder=True):
                count += 1
                yield entry
            if count == 0:
                raise InputError("there are no records in the file", where=where)
        except InputError as error:
            yield _Entry(where, "", where, (), {}, error)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise InputError(f"the folder cannot be read: {error.strerror}", where=str(folder)) from error


def _file_entries(
    path: Path, columns: tuple[str, str], limits: Limits, in_folder: bool = False
) -> Iterator[_Entry]:
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in FASTA_SUFFIXES:
        return _fasta_entries(path, limits)
    if suffix in TABLE_SUFFIXES:
        return _table_entries(path, columns, limits)
    if not in_folder and _begins_as_fasta(path, limits):
        return _fasta_entries(path, limits)
    raise InputError(
        f"the suffix {suffix!r} says nothing about the format",
        where=display_name(path),
        advice=f"Name it {', '.join(FASTA_SUFFIXES[:3])} (FASTA), .csv, .tsv (.gz may follow) or .parquet.",
    )


def _begins_as_fasta(path: Path, limits: Limits) -> bool:
    """Whether the first line that is not blank is a FASTA header."""
    first = next((line.text for line in read_lines(path, limits) if line.text.strip()), b"")
    return first.startswith(b">")


def _fasta_entries(path: Path, limits: Limits) -> Iterator[_Entry]:
    file = display_name(path)
    for entry in read_fasta(path, limits):
        yield _Entry(
            entry.id,
            entry.sequence,
            f"{file}:{entry.line}",
            entry.notes if entry.id else (*entry.notes, "no id in the header"),
            {"description": entry.description},
            entry.error,
        )


def _table_entries(path: Path, columns: tuple[str, str], limits: Limits) -> Iterator[_Entry]:
    file = display_name(path)
    table = read_table(path, limits)
    sequence_column = find_column(table.header, columns[0], SEQUENCE_COLUMNS)
    id_column = find_column(table.header, columns[1], ID_COLUMNS)
    if sequence_column is None or (id_column is None and columns[1] != "id"):
        missing = columns[0] if sequence_column is None else columns[1]
        raise InputError(
            f"no column {missing!r}; the header has {', '.join(map(repr, table.header[:20]))}",
            where=file,
            advice="The first line must name the columns: call it so, or say which column it is.",
        )
    for row in table.rows:
        id, notes = clean_id(row.columns[id_column]) if id_column is not None else ("", ())
        where = f"{file}:{row.line}"
        yield _Entry(id, row.columns[sequence_column], where, row.notes + notes, row.columns, row.error)


def find_column(header: Sequence[str], wanted: str, usual: tuple[str, ...]) -> str | None:
    """The wanted column; for the default one, any of the usual names, also in other case."""
    if wanted in header:
        return wanted
    if wanted != usual[0]:
        return None
    for name in usual:
        for column in header:
            if column == name or column.lower() == name.lower():
                return column
    return None


def _require(path: Path) -> None:
    """Refuse what is not there, and pipes and devices: the input is read more than once."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(
            f"the input cannot be read: {error.strerror or error}",
            where=display_name(path),
            advice="Check the path.",
        ) from error
    except ValueError as error:  # a NUL in the path
        raise InputError("the input's path is not a valid one", where=repr(str(path))) from error
    if not path.is_dir() and not path.is_file():
        raise InputError("the input is neither a file nor a folder", where=display_name(path))
    if path.is_file() and size == 0:
        raise InputError("the file is empty", where=display_name(path))


def _file_digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=display_name(path)) from error
