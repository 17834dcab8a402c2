"""Python in a process of its own, forked from one that has imported already what takes seconds.

A test that kills a job, or has four processes train together, starts many. What is started is what `python …` would
run: a script, `-c CODE` or `-m MODULE` with arguments. Tests of what a process imports, or of its memory, start Python
itself.
"""

import multiprocessing
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]

_IMPORTED = (
    "torch.distributed",
    "chaperonin.report.page",
    "chaperonin.serving.server",
    "chaperonin.training.alignment",
    "transformers.models.bert.modeling_bert",
)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    return context


class Python:
    """A process that was started; what it prints goes into files, or to where this process prints."""

    def __init__(
        self,
        *words: object,
        stdout: Path | None = None,
        stderr: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        for path in (stdout, stderr):
            if path is not None:
                path.write_bytes(b"")  # so that nobody reads what an earlier one printed
        own = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        arguments = ([str(word) for word in words], own, str(cwd or Path.cwd()), stdout, stderr)
        self._process: Any = _context().Process(target=_become, args=arguments, daemon=True)
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal that ended it, or None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """The same."""
        code: int | None = self._process.exitcode
        return code

    def wait(self, seconds: float = 300) -> int:
        """The exit code, once it has ended; AssertionError if that takes longer."""
        self._process.join(seconds)
        code = self.poll()
        assert code is not None, f"still running after {seconds} s"
        return code

    def printed(self, path: Path, pattern: str, seconds: float = 120) -> str:
        """What fits the pattern, or its group, in the file it prints to, once it is there; AssertionError if never."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended = self.poll() is not None
            found = re.search(pattern, path.read_text() if path.exists() else "", re.MULTILINE)
            if found or ended:
                break
            time.sleep(0.01)
        assert found, f"it ended with {self.poll()} and printed {path.read_text()}"
        return found[found.lastindex or 0]

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run_python(*words: object, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run it to its end; what it printed comes back."""
    with tempfile.TemporaryDirectory() as folder:
        out, error = Path(folder, "out"), Path(folder, "error")
        process = Python(*words, stdout=out, stderr=error, **options)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, out.read_text(), error.read_text())


def run_together(world: int, *words: object, timeout: float = 300) -> None:
    """So many processes with the places that torchrun would give them; AssertionError with what one of them printed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with tempfile.TemporaryDirectory() as folder:
        errors = [Path(folder, str(rank)) for rank in range(world)]
        started = [
            Python(*words, stderr=error, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, error in enumerate(errors)
        ]
        end = time.monotonic() + timeout
        try:
            while any(own.poll() is None for own in started) and not any(own.poll() for own in started):
                assert time.monotonic() < end, [error.read_text() for error in errors]
                time.sleep(0.01)
            # The others fail because of the first one that does.
            failed = [error for own, error in zip(started, errors, strict=True) if own.poll()]
            assert not failed, failed[0].read_text()
        finally:
            for own in started:
                own.kill()


def _become(
    words: list[str], environment: dict[str, str], cwd: str, stdout: Path | None, stderr: Path | None
) -> None:
    """Be what `python words` is, in the process that was forked."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for stream, path in ((1, stdout), (2, stderr)):
        if path is not None:
            opened = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.dup2(opened, stream)
            os.close(opened)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = words[1:] if words[0] in ("-c", "-m") else words
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    elif words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
