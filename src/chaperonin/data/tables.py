"""CSV, TSV and Parquet files as they are found, one row at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chaperonin.errors import InputError
from chaperonin.protein.lines import DEFAULT_LIMITS, Limits, Line, display_name, read_lines

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

PARQUET_SUFFIX = ".parquet"


class Row(NamedTuple):
    """One row: its cells by column name. A row with an error cannot be used; its cells may be incomplete.

    `line` is where it begins in a text file, and its number from 1 in a Parquet file.
    """

    line: int
    columns: dict[str, str]
    notes: tuple[str, ...]
    error: InputError | None


@dataclass(frozen=True)
class Table:
    """A header and the rows under it; the rows can be read once."""

    header: tuple[str, ...]
    rows: Iterator[Row]


def read_table(path: Path, limits: Limits = DEFAULT_LIMITS) -> Table:
    """Open a CSV or TSV file (also `.gz`), whose first line that is not blank names the columns.

    In a `.tsv` each line is one row, whatever quotes it holds. A `.csv` may also be parted by semicolons or
    tabs, as its header shows; a quote that is never closed is the error of its own line. A column name that
    comes twice gets a suffix. In a `.parquet` file numbers become text, lists are joined by semicolons, lists in
    them by hyphens (`[[3, 17], [5, 20]]` is `3-17;5-20`), and nothing is an empty cell. InputError: no header, or
    no Parquet file.
    """
    where = display_name(path)
    if Path(path.name.removesuffix(".gz")).suffix.lower() == PARQUET_SUFFIX:
        return _read_parquet(path)
    lines = _Lines(read_lines(path, limits))
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        raise InputError("the file is empty", where=where, advice="The first line names the columns.")
    if first.problem is not None:
        raise InputError(first.problem.what, where=f"{where}:{first.number}", advice=first.problem.advice)
    delimiter = _delimiter(path, first.text)
    try:
        header = _distinct(_cells(first.text.decode("utf-8", "replace"), delimiter))
    except ValueError as error:
        raise InputError(
            f"the header line cannot be read: {error}", where=f"{where}:{first.number}"
        ) from error
    return Table(header, _rows(lines, header, delimiter, limits))


class _Lines:
    """Lines that can be put back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._returned: list[Line] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> Line:
        return self._returned.pop() if self._returned else next(self._lines)

    def put_back(self, lines: list[Line]) -> None:
        self._returned.extend(reversed(lines))


def _delimiter(path: Path, header: bytes) -> str:
    if Path(path.name.removesuffix(".gz")).suffix.lower() in (".tsv", ".tab"):
        return "\t"
    return next((mark for mark in (",", ";", "\t") if mark.encode() in header), ",")


def _distinct(names: list[str]) -> tuple[str, ...]:
    header: list[str] = []
    for name in names:
        base = name.strip()
        name, count = base, 1
        while name in header:
            count += 1
            name = f"{base}_{count}"
        header.append(name)
    return tuple(header)


def _rows(lines: _Lines, header: tuple[str, ...], delimiter: str, limits: Limits) -> Iterator[Row]:
    for line in lines:
        if not line.text.strip(b" ") and line.problem is None:
            continue
        text, problem = line.text, line.problem
        if delimiter != "\t" and problem is None and text.count(b'"') % 2:
            text, problem = _joined(line, lines, limits)
        notes: tuple[str, ...] = ()
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            decoded = text.decode("utf-8", "replace")
            notes = ("bytes that are not UTF-8 replaced",)
        yield _row(line.number, decoded, header, delimiter, notes, problem)


def _joined(first: Line, lines: _Lines, limits: Limits) -> tuple[bytes, InputError | None]:
    """Text of a row whose quoted cell holds line ends. Where its quote never closes, only its first line."""
    taken: list[Line] = []
    size = len(first.text)
    for line in lines:
        taken.append(line)
        size += len(line.text) + 1
        if line.problem is not None or size > limits.line_bytes:
            break
        if line.text.count(b'"') % 2:
            return b"\n".join([first.text, *(line.text for line in taken)]), None
    lines.put_back(taken)
    return first.text, _open_quote()


def _open_quote() -> InputError:
    return InputError('a quote (") that is never closed', advice='Double it ("") or remove it.')


def _row(
    number: int,
    text: str,
    header: tuple[str, ...],
    delimiter: str,
    notes: tuple[str, ...],
    problem: InputError | None,
) -> Row:
    try:
        cells = _cells(text, delimiter)
    except ValueError:
        cells, problem = text.split(delimiter), problem or _open_quote()
    if problem is not None:
        cells.pop()  # the cell in which the text is cut
    while len(cells) > len(header) and not cells[-1].strip():
        cells.pop()
    if len(cells) > len(header):
        problem = problem or InputError(
            f"the row has {len(cells)} cells, the header {len(header)}",
            advice="Put quotes around cells that hold the separator.",
        )
    cells += [""] * (len(header) - len(cells))
    return Row(number, dict(zip(header, cells, strict=False)), notes, problem)


def _cells(text: str, delimiter: str) -> list[str]:
    """Cells of one row; ValueError for a quoted cell without end."""
    if '"' not in text:
        return text.split(delimiter)
    if delimiter == "\t":
        return [_unquoted(cell) for cell in text.split(delimiter)]
    cells: list[str] = []
    start = 0
    while True:
        quoted, after = _quoted_cell(text, start) if text.startswith('"', start) else ("", start)
        end = text.find(delimiter, after)
        cells.append(quoted + text[after : end if end >= 0 else len(text)])
        if end < 0:
            return cells
        start = end + len(delimiter)


def _quoted_cell(text: str, start: int) -> tuple[str, int]:
    """The cell whose quote opens at `start`, and where the text goes on after its closing quote."""
    end = start + 1
    while True:
        end = text.index('"', end)
        if not text.startswith('""', end):
            return text[start + 1 : end].replace('""', '"'), end + 1
        end += 2


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _read_parquet(path: Path) -> Table:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
        names = file.schema_arrow.names
    except (ArrowException, OSError) as error:
        raise InputError(
            f"the Parquet file cannot be read: {_one_line(error)}",
            where=display_name(path),
            advice="Write it again, or save the table as CSV.",
        ) from error
    header = _distinct(names)
    return Table(header, _parquet_rows(file, header))


def _parquet_rows(file: "ParquetFile", header: tuple[str, ...]) -> Iterator[Row]:
    """Rows of the batches that can be read; damage is the error of one last row."""
    from pyarrow import ArrowException

    number = 0
    try:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield Row(number, dict(zip(header, map(_text, cells), strict=True)), (), None)
    except (ArrowException, OSError) as error:
        damage = InputError(f"the Parquet file is damaged: {_one_line(error)}", advice="Write it again.")
        yield Row(number + 1, dict.fromkeys(header, ""), (), damage)
    finally:
        file.close()


_PARQUET_ROWS = 1024


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, list):
        return ";".join("-".join(map(_text, own)) if isinstance(own, list) else _text(own) for own in cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return str(cell)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
