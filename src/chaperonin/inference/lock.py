"""One process at a time in a folder."""

import fcntl
import os
from pathlib import Path

from chaperonin.errors import UnavailableError, UsageError


class FolderLock:
    """A lock that the system releases when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock at `path` (the file stays).

        UsageError: another process has it. UnavailableError: the file system cannot lock.
        """
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            self.release()
            raise UsageError(
                f"another process ({owner or 'unknown'}) is working in this folder",
                where=str(path.parent),
                advice="Wait until it ends, or choose another OUTDIR.",
            ) from error
        except OSError as error:
            self.release()
            raise UnavailableError(
                f"the file system has no locks ({error.strerror})",
                where=str(path.parent),
                advice="Choose an OUTDIR on a local disk, or have file locks switched on.",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
