"""Files that are either complete or not there."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaperonin.errors import ChaperoninError, UsageError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; when the block ends well, its file takes the name `path`.

    The file and its folder are synced, so that after a power cut there is the old file or the whole new one.
    When the block fails, the temporary file is removed and an older file stays as it is. A disk that is full
    or read-only becomes a ChaperoninError.
    """
    temporary = path.with_name(f".{path.name}.part")
    with disk_errors(path):
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file, text as UTF-8, as `atomic_file` does."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Make new names in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the disk's refusals into errors a user can act on; other errors pass."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = _error_number(error)
        if number in _FULL:
            raise no_space(path) from error
        if number in _REFUSED:
            raise UsageError(
                f"cannot be written: {os.strerror(number)}", where=str(path), advice="Choose another OUTDIR."
            ) from error
        raise


def require_room(folder: Path, needed_bytes: int) -> None:
    """UsageError where the disk of a folder has less room than that, before anything is computed."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise UsageError(
            f"the results need {needed_bytes / 1e6:,.1f} MB of disk, and {free_bytes / 1e6:,.1f} MB are free",
            where=str(folder),
            advice="Free some space, choose an OUTDIR on another disk, or divide the input.",
        )


def no_space(path: Path) -> ChaperoninError:
    """The error for a disk that is full, or a quota or file-size limit that is reached."""
    return ChaperoninError(
        "no space left to write",
        where=str(path),
        advice="Nothing is lost: free some space and run the same command again, it goes on from here.",
    )


def _error_number(error: OSError | RuntimeError) -> int:
    """The system's number of an error, 0 for none; HDF5 says it in words, and when closing in a RuntimeError."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    words = re.search(r"errno = (\d+)", str(error))
    return int(words.group(1)) if words else 0


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
