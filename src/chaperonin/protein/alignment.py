"""Alignments of related proteins with one query: A3M and Stockholm, plain or gzip."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.protein.atoms import GAP, RESIDUES, UNKNOWN
from chaperonin.protein.lines import display_name, read_blocks


@dataclass(frozen=True, eq=False)
class Alignment:
    """Aligned sequences, the query first; every column is a residue of the query."""

    query: str
    """Upper-case letters, as they were given: B, J, O, U, X and Z stay."""
    names: tuple[str, ...]
    """What the header of each row says."""
    residues: NDArray[np.int8]
    """`[sequences, query length]`: 0 to 19 in AlphaFold's order, 20 unknown, 21 a gap."""
    deletions: NDArray[np.int32]
    """`[sequences, query length]`: how many residues a row has between the column before and this one."""

    def __len__(self) -> int:
        return len(self.residues)


def read_a3m(source: Path | str, query: str | None = None) -> Alignment:
    """The alignment in an A3M file, or in a text that is one; its first sequence is the query.

    Lower-case letters are insertions, dots are nothing. Lines that begin with `#` (ColabFold) or `;` are comments,
    entries named `ss_pred` and the like (HH-suite) are no sequences. A column where the query has a gap, as in aligned
    FASTA, is an insertion of the others. InputError names the line; also where the query is not the wanted one.
    """
    text, where = _text(source, "the A3M text")
    if several := _COMPLEX.match(text):
        raise InputError(
            f"an alignment of a complex, of chains of {several.group(1).decode()} residues",
            where=f"{where}:1",
            advice="Give the alignment of one chain.",
        )
    entries = _entries(_COMMENT.sub(b"", text), where)
    codes = _A3M[np.frombuffer(b"\n".join(entry.letters for entry in entries) + b"\n", np.uint8)]
    bad = np.flatnonzero(codes == _BAD)
    if len(bad):
        _refuse_letter(entries[np.count_nonzero(codes[: bad[0]] == _END)], _A3M, where)
    first = entries[0]
    if lower := re.search(rb"[a-z]", first.letters):
        raise InputError(
            f"the first sequence, the query, has a lower-case letter ({lower.group().decode()}): an insertion",
            where=f"{where}:{first.line}",
            advice="Write all its residues in upper case, or align again with the query as reference.",
        )
    kept = np.flatnonzero(codes <= _END)
    codes, inserted = codes[kept], np.cumsum(codes == _INSERT, dtype=np.int32)[kept]
    widths = np.diff(np.flatnonzero(codes == _END), prepend=-1) - 1
    _require_equal(widths, entries, where)
    shape = (len(entries), int(widths[0]) + 1)
    residues = codes.reshape(shape)[:, :-1].astype(np.int8)
    deletions = np.diff(inserted, prepend=np.int32(0)).reshape(shape)[:, :-1]
    return _with_query_columns(entries, residues, deletions, query, where)


def read_stockholm(source: Path | str, query: str | None = None) -> Alignment:
    """The alignment in a Stockholm file (jackhmmer, hmmsearch), or in a text that is one; its first row is the query.

    A column where the query has a gap is an insertion of the others. A lower-case letter, which HMMER writes in the
    inserts of its own model, is a residue of the column it stands in: what counts here is the query, not the model.
    InputError as in `read_a3m`; also for a file without its last line `//`.
    """
    text, where = _text(source, "the Stockholm text")
    entries = _stockholm_rows(text, where)
    widths = np.array([len(entry.letters) for entry in entries])
    _require_equal(widths, entries, where)
    codes = _STOCKHOLM[np.frombuffer(b"".join(entry.letters for entry in entries), np.uint8)]
    bad = np.flatnonzero(codes == _BAD)
    if len(bad):
        _refuse_letter(entries[bad[0] // widths[0]], _STOCKHOLM, where)
    residues = codes.astype(np.int8).reshape(len(entries), -1)
    return _with_query_columns(entries, residues, np.zeros(residues.shape, np.int32), query, where)


def single_sequence(sequence: str, name: str = "query") -> Alignment:
    """The alignment of a sequence with itself alone. InputError where a letter is no residue, or none is there."""
    letters = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
    codes = _RESIDUE[letters]
    if not sequence:
        raise InputError("the sequence is empty", where=name)
    if np.any(codes == _BAD):
        at = int(np.argmax(codes == _BAD))
        raise InputError(
            f"letter {at + 1:,} is {sequence[at]!r}, which is no residue",
            where=name,
            advice="Use upper-case one-letter codes; X stands for an unknown residue.",
        )
    return Alignment(sequence, (name,), codes.astype(np.int8)[None], np.zeros((1, len(sequence)), np.int32))


def join(alignments: Sequence[Alignment]) -> Alignment:
    """Rows of all alignments in turn; of rows with the same aligned residues the first stays, as in AlphaFold.

    One alignment loses its repeated rows. InputError when there is none, or their queries differ.
    """
    if not alignments:
        raise InputError("no alignment to join", advice="Give one, or the sequence alone.")
    first = alignments[0]
    for number, other in enumerate(alignments[1:], start=2):
        _require_query(other.query, first.query, f"alignment {number}")
    residues = np.concatenate([alignment.residues for alignment in alignments])
    numbers: dict[bytes, int] = {}
    for number, row in enumerate(residues):
        numbers.setdefault(row.tobytes(), number)
    stay = np.fromiter(numbers.values(), np.int64)
    names = [name for alignment in alignments for name in alignment.names]
    deletions = np.concatenate([alignment.deletions for alignment in alignments])
    return Alignment(first.query, tuple(names[row] for row in stay), residues[stay], deletions[stay])


_END, _INSERT, _NOTHING, _BAD = 22, 23, 24, 255


def _codes(**others: int) -> NDArray[np.uint8]:
    """Byte → residue, or what else it means. Letters for two residues count as HHblits counts them."""
    table = np.full(256, _BAD, np.uint8)
    for letter, residue in {
        **dict(zip(RESIDUES, RESIDUES, strict=True)),
        "B": "D",
        "Z": "E",
        "U": "C",
    }.items():
        table[ord(letter)] = RESIDUES.index(residue)
    table[list(b"XJO")] = UNKNOWN
    for characters, code in others.items():
        table[list(_CHARACTERS[characters])] = code
    return table


_CHARACTERS = {
    "lower": bytes(range(ord("a"), ord("z") + 1)),
    "end": b"\n",
    "blank": b" \t.",
    "gap": b"-",
    "gaps": b"-._~",
}
_RESIDUE = _codes()
_A3M = _codes(lower=_INSERT, end=_END, blank=_NOTHING, gap=GAP)
_STOCKHOLM = _codes(gaps=GAP)
_STOCKHOLM[ord("a") : ord("z") + 1] = _STOCKHOLM[ord("A") : ord("Z") + 1]
_COMMENT = re.compile(rb"^[#;].*$", re.MULTILINE)
_COMPLEX = re.compile(rb"#(\d+(?:,\d+)+)\t")  # ColabFold: lengths of the chains, then how often each is there
_ANNOTATIONS = ("ss_pred", "ss_conf", "ss_dssp", "sa_dssp", "sa_pred")


class _Entry(NamedTuple):
    """A row as it stands in the file: what names it, its letters, and the line where it begins."""

    name: str
    letters: bytes
    line: int


def _text(source: Path | str, name: str) -> tuple[bytes, str]:
    """All bytes of the file, or of the text, with `\\n` line ends; and what errors call it."""
    if isinstance(source, Path):
        name = display_name(source)
        blocks = []
        for block in read_blocks(source):
            if isinstance(block, InputError):
                raise block
            blocks.append(block)
        text = b"".join(blocks)
    else:
        text = source.removeprefix("\ufeff").encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if (at := text.find(b"\0")) >= 0:
        line = text.count(b"\n", 0, at) + 1
        raise InputError(
            "a NUL byte, which no alignment has",
            where=f"{name}:{line}",
            advice="Several alignments of a ColabFold server are parted by it: save each as a file of its own.",
        )
    if not text.strip():
        raise InputError(
            "the alignment is empty", where=name, advice="Give the sequence alone if there is none."
        )
    return text, name


def _entries(text: bytes, where: str) -> list[_Entry]:
    """What follows each header, without line ends and annotation."""
    before, *pieces = (b"\n" + text).split(b"\n>")
    if before.strip():
        line = 1 + text[: len(text) - len(text.lstrip())].count(b"\n")
        raise InputError(
            "text before the first header",
            where=f"{where}:{line}",
            advice="A3M entries begin with a line '>name'.",
        )
    entries = []
    line = before.count(b"\n") + 1
    for piece in pieces:
        header, _, letters = piece.partition(b"\n")
        name = header.decode("utf-8", "replace").strip()
        if not name.startswith(_ANNOTATIONS):
            entries.append(_Entry(name, letters.replace(b"\n", b""), line))
        line += piece.count(b"\n") + 1
    if not entries:
        raise InputError("no sequence", where=where, advice="A3M entries begin with a line '>name'.")
    return entries


def _stockholm_rows(text: bytes, where: str) -> list[_Entry]:
    """Each row's letters from all blocks, in order of first appearance."""
    parts: dict[bytes, list[bytes]] = {}
    lines: dict[bytes, int] = {}
    is_ended = False
    if not text.lstrip().startswith(b"# STOCKHOLM"):
        raise InputError(
            "not a Stockholm file",
            where=f"{where}:1",
            advice="Its first line is '# STOCKHOLM 1.0'. Is it A3M?",
        )
    for number, line in enumerate(text.split(b"\n"), start=1):
        words = line.split()
        if not words:
            continue
        if is_ended:
            raise InputError(
                "a second alignment", where=f"{where}:{number}", advice="Save it as a file of its own."
            )
        if words[0] == b"//":
            is_ended = True
        elif not line.startswith(b"#"):
            if len(words) != 2:
                raise InputError(
                    f"{len(words)} words in the row of an alignment",
                    where=f"{where}:{number}",
                    advice="A row is a name without blanks, and aligned residues.",
                )
            parts.setdefault(words[0], []).append(words[1])
            lines.setdefault(words[0], number)
    if not is_ended:
        raise InputError(
            "the alignment has no end",
            where=f"{where}:{number}",
            advice="Its last line is '//'. Is the file cut off?",
        )
    if not parts:
        raise InputError("no sequence", where=where, advice="Give the sequence alone if nothing was found.")
    return [
        _Entry(name.decode("utf-8", "replace"), b"".join(row), lines[name]) for name, row in parts.items()
    ]


def _with_query_columns(
    entries: list[_Entry],
    residues: NDArray[np.int8],
    deletions: NDArray[np.int32],
    query: str | None,
    where: str,
) -> Alignment:
    """The alignment without the columns where the first row has a gap: what others have there is inserted."""
    in_query = residues[0] != GAP
    found = re.sub(rb"[^A-Za-z]", b"", entries[0].letters).decode().upper()
    if not found:
        raise InputError(
            "the first sequence, the query, has no residue", where=f"{where}:{entries[0].line}", advice=_FIRST
        )
    if query is not None:
        _require_query(found, query, f"{where}:{entries[0].line}")
    if not in_query.all():
        inserted = np.cumsum(deletions + ((residues != GAP) & ~in_query), axis=1, dtype=np.int32)
        deletions = np.diff(inserted[:, in_query], axis=1, prepend=np.int32(0))
        residues = residues[:, in_query]
    names = tuple(entry.name for entry in entries)
    return Alignment(found, names, np.ascontiguousarray(residues), np.ascontiguousarray(deletions))


_FIRST = "The first sequence of an alignment is the one to fold."


def _require_query(found: str, wanted: str, where: str) -> None:
    """Refuse a query that is another; letters that HHblits counts as the same residue are the same."""
    if len(found) != len(wanted):
        raise InputError(
            f"the query has {len(found):,} residues, the sequence to fold {len(wanted):,}",
            where=where,
            advice=_FIRST,
        )
    for number, (has, wants) in enumerate(zip(found, single_sequence(wanted).query, strict=True), start=1):
        if _RESIDUE[ord(has)] != _RESIDUE[ord(wants)]:
            raise InputError(
                f"residue {number:,} of the query is {has}, that of the sequence to fold {wants}",
                where=where,
                advice=_FIRST,
            )


def _require_equal(widths: NDArray[np.int64], entries: list[_Entry], where: str) -> None:
    different = np.flatnonzero(widths != widths[0])
    if len(different):
        row = int(different[0])
        raise InputError(
            f"sequence {row + 1:,} ({entries[row].name[:60]}) has {widths[row]:,} columns, the query {widths[0]:,}",
            where=f"{where}:{entries[row].line}",
            advice="All rows of an alignment have equally many; in A3M, lower-case letters are in none.",
        )


def _refuse_letter(entry: _Entry, table: NDArray[np.uint8], where: str) -> NoReturn:
    letters = np.frombuffer(entry.letters, np.uint8)
    at = int(np.argmax(table[letters] == _BAD))
    byte = entry.letters[at]
    shown = f"{chr(byte)!r}" if 32 <= byte < 127 else f"the byte 0x{byte:02x}"
    raise InputError(
        f"character {at + 1:,} of the sequence {entry.name[:60]} is {shown}, which is no residue",
        where=f"{where}:{entry.line}",
        advice="Residues are ASCII letters, gaps are '-'.",
    )
