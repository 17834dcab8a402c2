"""Text files, plain or gzip, read with bounded memory and without losing what precedes damage."""

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from chaperonin.errors import InputError


@dataclass(frozen=True)
class Limits:
    """How much one record, and one compressed file, may hold."""

    residues: int = 1_000_000
    """Longest sequence that is read."""
    expansion: int = 500
    """How many times its size a compressed file may become, above `expansion_floor_bytes`."""
    expansion_floor_bytes: int = 1 << 30
    """Up to this size a compressed file may expand at any ratio."""

    @property
    def line_bytes(self) -> int:
        """Longest line that is kept whole: a sequence with spaces in it, or a row with other columns."""
        return 2 * self.residues + (1 << 16)


DEFAULT_LIMITS = Limits()


class Line(NamedTuple):
    """One line without its end. A line with a problem is cut; damage is the problem of the last line."""

    number: int
    text: bytes
    problem: InputError | None


def read_blocks(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[bytes | InputError]:
    r"""The file in blocks of some size, line ends made `\n`, without a byte-order mark.

    An InputError as the last item tells of damage (a truncated or corrupt gzip stream, a gzip bomb). It is
    raised when the file cannot be opened, or is UTF-16.
    """
    held = b""
    is_first = True
    for block in _raw_blocks(path, limits):
        if isinstance(block, InputError):
            yield block
            return
        block = held + block
        held = b""
        if is_first:
            if len(block) < len(_UTF8_MARK):  # a gzip stream may begin with crumbs
                held = block
                continue
            is_first = False
            block = _without_mark(block, path)
        if block.endswith(b"\r"):  # its \n may be in the next block
            block, held = block[:-1], b"\r"
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield block
    if held:
        yield held.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def read_lines(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Line]:
    """Lines without their ends, numbered from 1; of one that is too long, its beginning.

    Damage further on is the problem of one last line that holds what came before it. InputError as in
    `read_blocks`.
    """
    number, carry, cut = 0, b"", None
    damage = None
    for block in read_blocks(path, limits):
        if isinstance(block, InputError):
            damage = block
            break
        if cut is not None:  # the rest of a line that is too long
            _, newline, block = block.partition(b"\n")
            if not newline:
                continue
            block = newline + block
        lines = (carry + block).split(b"\n")
        carry = lines.pop()
        for text in lines:
            number += 1
            if len(text) > limits.line_bytes:
                text, cut = text[: limits.line_bytes], _line_too_long(limits)
            yield Line(number, text, cut)
            cut = None
        if len(carry) > limits.line_bytes:
            carry, cut = carry[: limits.line_bytes], _line_too_long(limits)
    if carry or damage:
        yield Line(number + 1, carry, cut or damage)


def display_name(path: Path) -> str:
    """The file's name as text that can always be printed; names on disk need not be valid Unicode."""
    return os.fsencode(path.name).decode("utf-8", "replace")


_BLOCK_BYTES = 1 << 18
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def _without_mark(block: bytes, path: Path) -> bytes:
    if block.startswith(_UTF16_MARKS):
        raise InputError("the file is UTF-16 text", where=display_name(path), advice="Save it as UTF-8.")
    return block.removeprefix(_UTF8_MARK)


def _raw_blocks(path: Path, limits: Limits) -> Iterator[bytes | InputError]:
    try:
        with open(path, "rb") as file:
            is_compressed = file.read(2) == b"\x1f\x8b"  # by content: browsers unpack without renaming
            file.seek(0)
            if is_compressed:
                yield from _expanded(file, path, limits)
            else:
                while block := file.read(_BLOCK_BYTES):
                    yield block
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", where=display_name(path)
        ) from error


def _expanded(file: BinaryIO, path: Path, limits: Limits) -> Iterator[bytes | InputError]:
    size = os.fstat(file.fileno()).st_size
    most = max(limits.expansion_floor_bytes, limits.expansion * size)
    total = 0
    stream = gzip.GzipFile(fileobj=file)
    while True:
        try:
            # read1: one that fails has taken nothing with it, read would lose what it had gathered.
            block = stream.read1(_BLOCK_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield InputError(
                f"the compressed file is damaged or cut off here ({error})",
                where=display_name(path),
                advice="Copy or download it again; what came before was read.",
            )
            return
        if not block:
            return
        total += len(block)
        if total > most:
            yield InputError(
                f"the compressed file grows to more than {limits.expansion:,} times its {size:,} bytes",
                where=display_name(path),
                advice="Unpack it yourself if you trust it; what came before was read.",
            )
            return
        yield block


def _line_too_long(limits: Limits) -> InputError:
    return InputError(
        f"a line longer than {limits.line_bytes:,} bytes",
        advice=f"The limit for one sequence is {limits.residues:,} residues.",
    )
