"""FASTA files as they are found, one entry at a time."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chaperonin.errors import InputError
from chaperonin.protein.lines import DEFAULT_LIMITS, Limits, read_lines


class FastaEntry(NamedTuple):
    """One entry: what its header says and the text under it, not yet judged as a sequence.

    An entry with an error cannot be used; its sequence is empty. The id is empty where the header has none.
    """

    number: int
    line: int
    id: str
    description: str
    sequence: str
    notes: tuple[str, ...]
    error: InputError | None


def read_fasta(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[FastaEntry]:
    """Entries in file order, with the memory of one. `.gz` is recognised by its content.

    Lines that begin with `;` are comments. Text before the first header is one entry with an error; so is the
    entry in which a compressed file is damaged: those before it have been given. InputError is raised only
    when the file cannot be opened, or is UTF-16.
    """
    number = 0
    draft: _Draft | None = None
    for line, text, problem in read_lines(path, limits):
        first = text[:1]
        if first == b">":
            if draft is not None:
                yield draft.entry(number)
            number += 1
            draft = _Draft(line, text, limits)
        elif first != b";" and text:
            if draft is None and not text.isspace():
                number += 1
                draft = _Draft(line, None, limits)
            if draft is not None:
                draft.add(text)
        if problem is not None:
            if draft is None:
                number += 1
                draft = _Draft(line, None, limits)
            draft.problem = draft.problem or problem
    if draft is not None:
        yield draft.entry(number)


def clean_id(text: str) -> tuple[str, tuple[str, ...]]:
    """An id that tables, HDF5 attributes and terminals can hold, and notes about what was changed."""
    notes: list[str] = []
    id = text.strip()
    if "\N{REPLACEMENT CHARACTER}" in id:
        notes.append("bytes of the id that are not UTF-8 replaced")
    if _CONTROL.search(id):
        id = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", id)
        notes.append("control characters of the id replaced")
    if len(id) > _ID_LENGTH:
        id = id[:_ID_LENGTH]
        notes.append(f"id cut to {_ID_LENGTH:,} characters")
    return id, tuple(notes)


_ID_LENGTH = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BLANK_BYTES = b" \t\v\f0123456789"


class _Draft:
    """An entry being read."""

    def __init__(self, line: int, header: bytes | None, limits: Limits) -> None:
        self.line = line
        self.header = header
        self.limits = limits
        self.parts: list[bytes] = []
        self.size = 0
        self.problem: InputError | None = None

    def add(self, text: bytes) -> None:
        self.size += len(text)
        if self.size <= self.limits.line_bytes:
            self.parts.append(text)

    def entry(self, number: int) -> FastaEntry:
        id, description, notes = self._names()
        error = self.problem or self._refusal()
        sequence = ""
        if error is None:
            text = b"".join(self.parts)
            try:
                sequence = text.decode()
            except UnicodeDecodeError as failure:
                error = InputError(
                    f"the sequence holds a byte that is not text (0x{text[failure.start]:02x}, character"
                    f" {failure.start + 1:,})",
                    advice="Save the file as plain ASCII or UTF-8.",
                )
        return FastaEntry(number, self.line, id, description, sequence, notes, error)

    def _names(self) -> tuple[str, str, tuple[str, ...]]:
        header = self.header[1:].decode("utf-8", "replace") if self.header else ""
        # Only blanks and tabs part words: other white space may be part of an id, and is replaced in it.
        words = re.split(r"[ \t]+", header.strip(" \t"), maxsplit=1)
        id, notes = clean_id(words[0])
        description = _CONTROL.sub(" ", words[1]) if len(words) > 1 else ""
        return id, description, notes

    def _refusal(self) -> InputError | None:
        if self.header is None:
            return InputError(
                "text before the first header",
                advice="FASTA entries begin with a line '>id description'.",
            )
        most = self.limits.residues
        if self.size > self.limits.line_bytes:
            length = f"more than {most:,}"
        elif self.size > most and (count := len(b"".join(self.parts).translate(None, _BLANK_BYTES))) > most:
            length = f"{count:,}"
        else:
            return None
        return InputError(
            f"a sequence of {length} residues; the limit is {most:,}", advice="Cut it into domains."
        )
