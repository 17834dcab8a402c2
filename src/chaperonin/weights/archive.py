"""The files in a tar archive that somebody else made. None is unpacked: each is read in its place."""

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from chaperonin.errors import WeightsError

LARGEST_BYTES = 16 << 30
"""An archive whose files say they are larger together is refused."""
MOST_MEMBERS = 64
LONGEST_NAME = 100


class Archive:
    """The plain files of an open archive."""

    def __init__(self, opened: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> None:
        self._opened = opened
        self._members = members

    @property
    def names(self) -> list[str]:
        """In the archive's order."""
        return list(self._members)

    def open(self, name: str) -> IO[bytes]:
        """The bytes of one file."""
        found = self._opened.extractfile(self._members[name])
        assert found is not None, name  # only plain files are members
        return found


@contextmanager
def open_archive(path: Path, expected: re.Pattern[str]) -> Iterator[Archive]:
    """An uncompressed archive, looked through before anything is read from it.

    WeightsError for a member that is no plain file with an expected name, for one that is there twice, for too many or
    too large ones, and for an archive that is cut off.
    """
    try:
        with tarfile.open(path, "r:") as opened:  # no compression: what is on the disk is all there is
            yield Archive(opened, _checked(opened, path, expected))
    except tarfile.TarError as error:
        raise _refused(f"it is cut off, damaged or no archive ({error})", path) from error


def _checked(opened: tarfile.TarFile, path: Path, expected: re.Pattern[str]) -> dict[str, tarfile.TarInfo]:
    members: dict[str, tarfile.TarInfo] = {}
    total, file_bytes = 0, path.stat().st_size
    for number, member in enumerate(opened, start=1):
        name = member.name.removeprefix("./")
        total += member.size
        what = _objection(member, name, expected)
        if number > MOST_MEMBERS:
            what = f"is number {number} of the files, more than the {MOST_MEMBERS} that are allowed"
        elif name in members:
            what = what or "is there twice"
        elif total > LARGEST_BYTES:
            what = what or f"makes it {total:,} bytes, more than the {LARGEST_BYTES:,} that are allowed"
        elif member.offset_data + member.size > file_bytes:
            what = what or "is cut off"
        if what:
            raise _refused(f"{name[:LONGEST_NAME]!a} {what}", path)
        if not member.isdir():
            members[name] = member
    return members


def _objection(member: tarfile.TarInfo, name: str, expected: re.Pattern[str]) -> str:
    if member.isdir() and name in (".", ""):  # the folder that was packed
        return ""
    if not member.isreg() or member.issparse():
        return "is a link, a folder, a device or a file with holes, not a plain file"
    if name.startswith("/") or ".." in name.split("/"):
        return "is a path that leads out of the archive"
    return "" if expected.fullmatch(name) else "is not a name that belongs here"


def _refused(what: str, path: Path) -> WeightsError:
    return WeightsError(f"refused: {what}", where=str(path), advice="Get the archive from its publisher.")
