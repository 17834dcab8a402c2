"""What a model folder is supposed to hold: `chaperonin.json` with the size and SHA-256 of every file."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from chaperonin.errors import WeightsError

FILE_NAME = "chaperonin.json"
_FORMAT = 1
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class FileRecord:
    """One file as it was when it was known to be right."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Where the files of a model folder came from and what they are."""

    source: str
    """Name on the hub, or the checkpoint that was converted."""
    commit: str
    """Commit on the hub; empty for a converted checkpoint."""
    files: dict[str, FileRecord]

    def write(self, folder: Path) -> None:
        """Put the record into the folder, whole or not at all."""
        partial = folder / f".{FILE_NAME}.part"
        partial.write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, folder / FILE_NAME)

    def problems(self, folder: Path, *, sizes_only: bool = False) -> Iterator[str]:
        """One sentence for every file that is not what was recorded; reads every byte unless told not to."""
        for name, record in self.files.items():
            path = folder / name
            if not path.is_file():
                yield f"{name} is gone"
            elif path.stat().st_size != record.size:
                yield f"{name} has {path.stat().st_size:,} bytes, recorded are {record.size:,}"
            elif not sizes_only and (found := sha256_of(path)) != record.sha256:
                yield f"{name} has SHA-256 {found}, recorded is {record.sha256}"


def read_manifest(folder: Path) -> Manifest | None:
    """The record of a folder, or None when there is none; WeightsError when it is not readable."""
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = {
            name: FileRecord(int(entry["size"]), str(entry["sha256"]))
            for name, entry in content["files"].items()
        }
        return Manifest(str(content["source"]), str(content["commit"]), files)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"the record is damaged ({error!r})",
            where=str(path),
            advice="Delete it and pull or convert again.",
        ) from error


def record_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Size and SHA-256 of files as they are now."""
    return {name: FileRecord((folder / name).stat().st_size, sha256_of(folder / name)) for name in names}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return _digest(path, hashlib.sha256())


def git_sha1_of(path: Path) -> str:
    """The name git gives to a file: SHA-1 of its length and its bytes."""
    header = f"blob {path.stat().st_size}\0".encode()
    return _digest(path, hashlib.sha1(header, usedforsecurity=False))


def md5_of(path: Path) -> str:
    """MD5 of a file's bytes: against accidents only."""
    return _digest(path, hashlib.md5(usedforsecurity=False))


def _digest(path: Path, digest: "hashlib._Hash") -> str:
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
