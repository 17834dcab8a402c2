"""One file from a server that may stop, lie or send something else, checked before it gets its name."""

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaperonin.errors import WeightsError
from chaperonin.weights.asking import Patience, cannot_write, explain
from chaperonin.weights.manifest import git_sha1_of, md5_of, sha256_of

_SHA256_DIGITS = 64
_ALGORITHMS = {_SHA256_DIGITS: sha256_of, 40: git_sha1_of, 32: md5_of}
"""Digits of a digest → what makes it."""

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes that are here and the bytes there will be."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as its server describes it."""

    name: str
    size: int
    digest: str
    """SHA-256 of a large file, git's SHA-1 of a small one: also its name in the cache. Elsewhere MD5, or nothing."""
    url: str
    server: str = "the hub"
    """What to call it; the token is for the hub alone."""

    @property
    def has_sha256(self) -> bool:
        """Whether the digest is a SHA-256."""
        return len(self.digest) == _SHA256_DIGITS

    def digest_of(self, path: Path) -> str:
        """What the file at this path hashes to, by the same algorithm; nothing where none is known."""
        return _ALGORITHMS[len(self.digest)](path) if self.digest else ""

    def is_at(self, path: Path) -> bool:
        """Whether the file at this path has these bytes."""
        return path.is_file() and path.stat().st_size == self.size and self.digest_of(path) == self.digest


def partial_path(target: Path) -> Path:
    """Where the bytes of a file gather until it is whole."""
    return target.with_name(f"{target.name}.incomplete")


def download(file: RemoteFile, target: Path, progress: Progress | None = None) -> None:
    """Bring a file to `target`, going on from an earlier attempt; WeightsError when another file came.

    What arrived before a failure stays in `partial_path(target)` for the next call.
    """
    partial = partial_path(target)
    try:
        partial.touch()
        resumed = partial.stat().st_size > 0
        _gather(file, partial, progress)
        found = file.digest_of(partial)
        if resumed and found != file.digest:
            # The earlier bytes were of another file, or damaged: once more from the start.
            os.truncate(partial, 0)
            _gather(file, partial, progress)
            found = file.digest_of(partial)
        if found != file.digest:
            partial.unlink()
            raise WeightsError(
                f"{file.name} hashes to {found}, {file.server} announces {file.digest}",
                where=file.url,
                advice="It is not the published file and was deleted. Try again, or by another network.",
            )
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, target)
    except OSError as error:
        raise cannot_write(error, partial) from error


class _EndedEarly(Exception):
    """The server closed a body as if it were complete."""


def _gather(file: RemoteFile, partial: Path, progress: Progress | None) -> None:
    """Ask until the partial file has the announced size."""
    from huggingface_hub.errors import HTTPError

    if partial.stat().st_size > file.size:
        os.truncate(partial, 0)
    patience = Patience()
    while (before := partial.stat().st_size) < file.size:
        try:
            _append(file, partial, progress)
            failure: Exception = _EndedEarly("the server ended it")
        except (HTTPError, ConnectionError) as error:
            failure = error
        here = partial.stat().st_size
        if here > before:
            patience.restart()
        if here < file.size:
            _wait(patience, failure, file, here)


def _wait(patience: Patience, failure: Exception, file: RemoteFile, here: int) -> None:
    from huggingface_hub.errors import HTTPError

    try:
        patience.wait(failure)
    except _EndedEarly as error:
        raise WeightsError(
            f"{file.name} ended after {here:,} of {file.size:,} bytes",
            where=file.url,
            advice="Run the same command again: it goes on from there.",
        ) from error
    except (HTTPError, ConnectionError) as error:
        what = f"{file.name} ({here:,} of {file.size:,} bytes are here)"
        raise explain(error, what, file.url, file.server) from error


def _append(file: RemoteFile, partial: Path, progress: Progress | None) -> None:
    """One request for the bytes that are still missing."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    here = partial.stat().st_size
    token = None if file.server == RemoteFile.server else False
    headers = {**build_hf_headers(token=token), "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    with get_session().stream(
        "GET", file.url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
    ) as response:
        hf_raise_for_status(response)
        continues = response.headers.get("Content-Range", "").startswith(f"bytes {here}-")
        here = here if response.status_code == 206 and continues else 0
        with partial.open("r+b") as out:
            out.truncate(here)
            out.seek(here)
            for chunk in response.iter_bytes():  # as it comes: what waits for a full block is lost in a drop
                here += len(chunk)
                if here > file.size:
                    raise WeightsError(
                        f"{file.name} goes on after the {file.size:,} bytes {file.server} announces",
                        where=file.url,
                        advice="The server contradicts itself; try another mirror (HF_ENDPOINT).",
                    )
                out.write(chunk)
                if progress is not None:
                    progress(file.name, here, file.size)


def ask_about(name: str, url: str, server: str, sha256: str = "") -> RemoteFile:
    """A file of a plain server, which tells its size and, if it is Google's storage, its MD5."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = {**build_hf_headers(token=False), "Accept-Encoding": "identity"}
    patience = Patience()
    while True:
        try:
            answer = get_session().head(url, headers=headers, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            hf_raise_for_status(answer)
            break
        except (HTTPError, ConnectionError) as error:
            try:
                if getattr(error, "response", None) is None:
                    raise
                patience.wait(error)
            except (HTTPError, ConnectionError) as final:
                raise explain(final, name, url, server) from final
    size = answer.headers.get("Content-Length", "")
    if not size.isdigit():
        raise WeightsError(f"{server} does not say how large {name} is", where=url, advice="Try a mirror.")
    return RemoteFile(
        name, int(size), sha256 or _announced_md5(answer.headers.get("x-goog-hash", "")), url, server
    )


def _announced_md5(header: str) -> str:
    """`crc32c=…, md5=…` in base 64 → hexadecimal digits, or nothing."""
    encoded = dict(part.strip().partition("=")[::2] for part in header.split(",")).get("md5", "")
    try:
        digest = base64.b64decode(encoded, validate=True).hex()
    except ValueError:
        return ""
    return digest if len(digest) == 32 else ""
