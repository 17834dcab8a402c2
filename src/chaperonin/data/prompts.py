"""Files of prompts: one class a row, with the text that describes it."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from chaperonin.data.tables import read_table
from chaperonin.errors import InputError

TEXT_COLUMNS = ("prompt", "text", "name")
"""Where the text is looked for; ProtST's own files call it name."""
LABEL_COLUMNS = ("label", "class")
MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class Prompt:
    """A class."""

    label: str
    text: str
    id: str = ""
    """What the file's column `id` says, where it has one."""


def read_prompts(path: str | Path, column: str = "", least: int = 2) -> list[Prompt]:
    """Texts in the file's order; InputError names the line of what is empty, too long or there twice.

    column: where the text stands, by default `prompt`, `text` or `name`. Without a column `label` or `class` the text
    is its own label, with a number behind it where it stands there again. The texts are taken as they stand, blanks at
    their ends too: they are part of ProtST's protocol.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", where=str(path), advice="Give a TSV or CSV file with prompts.")
    table = read_table(path)
    header = {name.lower(): name for name in table.header}
    text_column = _column(header, (column.lower(),) if column else TEXT_COLUMNS, path)
    label_column = next((header[name] for name in LABEL_COLUMNS if name in header), None)
    found: list[Prompt] = []
    lines: dict[str, int] = {}
    for row in table.rows:
        where = f"{path}:{row.line}"
        if row.error is not None:
            raise InputError(row.error.what, where=where, advice=row.error.advice)
        text = row.columns[text_column]
        label = row.columns[label_column or text_column].strip()
        require_words(text, label, where)
        if label_column is None:
            label = _apart(label, lines)
        if label in lines:
            raise InputError(
                f"the label {label!r} stands in line {lines[label]} too",
                where=where,
                advice="Give each once.",
            )
        lines[label] = row.line
        found.append(Prompt(label, text, row.columns[header["id"]].strip() if "id" in header else ""))
    if len(found) < least:
        raise InputError(
            f"{len(found)} texts where {least} are needed", where=str(path), advice="Write one row for each."
        )
    return found


def _column(header: dict[str, str], wanted: tuple[str, ...], path: Path) -> str:
    for name in wanted:
        if name in header:
            return header[name]
    raise InputError(
        f"no column {' or '.join(wanted)}",
        where=str(path),
        advice=f"There are: {', '.join(header.values())}. Name one with --set column=NAME.",
    )


def _apart(label: str, taken: Container[str]) -> str:
    """A text that stands several times, as in ProtST's tables of enzymes, is told apart by a number."""
    names = (label, *(f"{label} [{number}]" for number in range(2, 1000)))
    return next((name for name in names if name not in taken), label)


def require_words(text: str, label: str, where: str) -> None:
    """InputError for a prompt that is empty or endless, or one without a label."""
    if not text.strip() or not label:
        raise InputError("an empty prompt", where=where, advice="Describe the class in words.")
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"a prompt of {len(text):,} characters",
            where=where,
            advice=f"The model reads its first 128 word pieces; give at most {MOST_CHARACTERS:,} characters.",
        )
