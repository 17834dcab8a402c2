"""FASTA files as they are found, one entry at a time."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chaperonin.errors import InputError
from chaperonin.protein.lines import DEFAULT_LIMITS, Limits, read_blocks


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
    for piece in _pieces(path, limits):
        if piece.has_header:
            number += 1
            yield _entry(number, piece, limits)
        elif piece.problem is not None or _without_comments(piece.text).strip():
            number += 1
            yield _headerless(number, piece)


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


def require_length(residues: int, limits: Limits) -> None:
    """Refuse a sequence of more residues than the limit."""
    if residues > limits.residues:
        raise _too_long(f"{residues:,}", limits)


_ID_LENGTH = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_COMMENT = re.compile(rb"^;.*$", re.MULTILINE)
_NEWLINES, _BLANKS = b"\n", b" \t\v\f0123456789"


class _Piece(NamedTuple):
    """Text from one header to the next, without its `>`, and the line where it begins."""

    line: int
    text: bytes
    has_header: bool
    problem: InputError | None


def _pieces(path: Path, limits: Limits) -> Iterator[_Piece]:
    """The file cut before its headers; of a piece that is too long only the beginning is kept."""
    line, has_header = 0, False
    text = _NEWLINES  # stands before the first line, so that every header follows a line end
    too_long: InputError | None = None
    lines_dropped = 0
    for block in read_blocks(path, limits):
        if isinstance(block, InputError):
            yield _Piece(line, text, has_header, too_long or block)
            return
        if too_long is not None:
            # The end of what was dropped matters: its line end and the next block's > make a header.
            end = text[limits.line_bytes :]
            rest = end + block
            start = rest.find(b"\n>")
            if start < 0:
                text = text[: limits.line_bytes] + (b"\n" if rest.endswith(b"\n") else b"")
                lines_dropped += rest.count(b"\n") - rest.endswith(b"\n")
                continue
            yield _Piece(line, text[: limits.line_bytes], has_header, too_long)
            line += text[: limits.line_bytes].count(b"\n") + lines_dropped + rest[:start].count(b"\n") + 1
            text, block, has_header = b"", rest[start + 2 :], True
            too_long, lines_dropped = None, 0
        *complete, text = (text + block).split(b"\n>")
        for piece in complete:
            yield _Piece(line, piece, has_header, None)
            line += piece.count(b"\n") + 1
            has_header = True
        if len(text) > limits.line_bytes:
            too_long = _too_long(f"more than {limits.residues:,}", limits)
            lines_dropped = text[limits.line_bytes :].count(b"\n") - text.endswith(b"\n")
            text = text[: limits.line_bytes] + (b"\n" if text.endswith(b"\n") else b"")
    yield _Piece(line, text, has_header, too_long)


def _entry(number: int, piece: _Piece, limits: Limits) -> FastaEntry:
    header, _, body = piece.text.partition(b"\n")
    id, description, notes = _names(header)
    error = piece.problem
    sequence = ""
    if error is None:
        if b";" in body:
            body = _without_comments(body)
        residues = body.replace(b"\n", b"")
        if len(residues) > limits.residues:
            try:
                require_length(len(residues.translate(None, _BLANKS)), limits)
            except InputError as refused:
                error = refused
        if error is None:
            try:
                sequence = residues.decode()
            except UnicodeDecodeError as failure:
                error = _not_text(residues, failure.start)
    return FastaEntry(number, piece.line, id, description, sequence, notes, error)


def _headerless(number: int, piece: _Piece) -> FastaEntry:
    blank = re.match(rb"(?:\s|^;.*$)*+", piece.text, re.MULTILINE)
    line = piece.line + (blank.group().count(b"\n") if blank else 0)
    error = piece.problem or InputError(
        "text before the first header", advice="FASTA entries begin with a line '>id description'."
    )
    return FastaEntry(number, max(line, 1), "", "", "", (), error)


def _names(header: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Id, description and notes of a header line."""
    text = header.decode("utf-8", "replace")
    if header.isascii() and text.isprintable() and len(text) <= _ID_LENGTH and text[:1] != " ":
        id, _, description = text.partition(" ")
        return id, description.strip(), ()
    # Only blanks and tabs part words: a control character may be in an id, and is replaced in it.
    words = re.split(r"[ \t]+", text.strip(" \t"), maxsplit=1)
    id, notes = clean_id(words[0])
    return id, _CONTROL.sub(" ", words[1]).strip() if len(words) > 1 else "", notes


def _without_comments(text: bytes) -> bytes:
    return _COMMENT.sub(b"", text)


def _too_long(count: str, limits: Limits) -> InputError:
    return InputError(
        f"a sequence of {count} residues; the limit is {limits.residues:,}", advice="Cut it into domains."
    )


def _not_text(residues: bytes, start: int) -> InputError:
    return InputError(
        f"the sequence holds a byte that is not text (0x{residues[start]:02x}, character {start + 1:,})",
        advice="Save the file as plain ASCII or UTF-8.",
    )
