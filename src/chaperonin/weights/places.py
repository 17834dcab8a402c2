"""Where a model's files lie: a snapshot in the cache of `huggingface_hub`, or a folder of the user's."""

import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from chaperonin.errors import WeightsError
from chaperonin.weights.asking import cannot_write
from chaperonin.weights.download import Progress, RemoteFile, download, partial_path
from chaperonin.weights.manifest import FileRecord, Manifest, record_files

_SPARE_BYTES = 64 << 20


class Snapshot:
    """A commit in the cache: blobs under their hash, and names as links to them once all are there."""

    def __init__(self, name: str, commit: str) -> None:
        self.repository = repository(name)
        self.path = self.repository / "snapshots" / commit

    def place(self, file: RemoteFile) -> Path:
        """Where the bytes of the file lie."""
        return self.repository / "blobs" / file.digest

    def take(self, file: RemoteFile, progress: Progress | None) -> Path:
        """The file's bytes, fetched if they are not here or not right."""
        blob = self.place(file)
        _make(blob.parent)
        with self._alone(file.digest):
            if not file.is_at(blob):
                download(file, blob, progress)
        return blob

    def finish(self, name: str, commit: str, files: Sequence[RemoteFile], branch: str | None) -> None:
        """Show the files under their names, record them, and note that the branch meant this commit."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with self._alone(commit):
                for file in files:
                    _link(self.place(file), self.path / file.name)
                _record(self.path, name, commit, files)
                if branch is not None or not reference(self.repository, "main"):
                    write_whole(self.repository / "refs" / (branch or "main"), commit)
        except OSError as error:
            raise cannot_write(error, self.path) from error

    def _alone(self, what: str) -> AbstractContextManager[object]:
        """Wait until no other program, this or that library's, works on the same thing."""
        from huggingface_hub.utils import WeakFileLock

        locks = self.repository.parent / ".locks" / self.repository.name
        _make(locks)
        return WeakFileLock(locks / f"{what}.lock")


class UserFolder:
    """A folder of the user's, with the files themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, file: RemoteFile) -> Path:
        """Where the bytes of the file lie."""
        return self.path / file.name

    def take(self, file: RemoteFile, progress: Progress | None) -> Path:
        """The file, fetched if it is not here; another file of that name is never overwritten."""
        target = self.place(file)
        _make(self.path)
        if not target.exists():
            download(file, target, progress)
        elif not file.is_at(target):
            raise WeightsError(
                f"another {file.name} is here",
                where=str(self.path),
                advice="Choose an empty folder, or remove it.",
            )
        return target

    def finish(self, name: str, commit: str, files: Sequence[RemoteFile], branch: str | None) -> None:
        """Record the files."""
        _record(self.path, name, commit, files)


def cache() -> Path:
    """The cache of `huggingface_hub`: HF_HUB_CACHE, or `hub` in HF_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repository(name: str) -> Path:
    """The folder of a hub model in the cache."""
    return cache() / f"models--{name.replace('/', '--')}"


def reference(repository: Path, branch: str) -> str:
    """The commit that a branch or tag meant at the last pull, or nothing."""
    path = repository / "refs" / branch
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def check_disk(files: Sequence[RemoteFile], target: Snapshot | UserFolder) -> None:
    """WeightsError when the missing bytes will not fit on the disk."""
    places = [(file, target.place(file)) for file in files]
    missing = sum(file.size - _size(partial_path(place)) for file, place in places if not place.exists())
    check_room(missing, target.path)


def check_room(missing: int, path: Path) -> None:
    """WeightsError when so many bytes will not fit on the disk where `path` is to be."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if missing and missing + _SPARE_BYTES > free:
        raise WeightsError(
            f"{missing:,} bytes to fetch, {free:,} free on the disk",
            where=str(existing),
            advice="Free some space, or set HF_HOME (or give a folder) on a larger disk.",
        )


def _record(folder: Path, name: str, commit: str, files: Sequence[RemoteFile]) -> None:
    """Write down the files that were just checked; a large one's digest is its SHA-256 already."""
    large = {file.name: FileRecord(file.size, file.digest) for file in files if file.has_sha256}
    small = record_files(folder, [file.name for file in files if not file.has_sha256])
    Manifest(name, commit, large | small).write(folder)


def _link(blob: Path, shown: Path) -> None:
    """The blob under its name: a relative link, or a copy where the file system has no links."""
    partial = shown.with_name(f".{shown.name}.part")
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(os.path.relpath(blob, shown.parent))
    except OSError:
        shutil.copyfile(blob, partial)
    os.replace(partial, shown)


def write_whole(path: Path, text: str) -> None:
    """Write a small file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(error, folder) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
