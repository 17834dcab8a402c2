"""Compile the C++ sources for this processor, once, and load them.

A compiler is all that is needed: the sources know nothing of PyTorch or Python. What was compiled lies in the user's
cache under a name made from the sources, the compiler and the processor, so that a home directory which several
machines share serves each of them.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from chaperonin.errors import ChaperoninError, UnavailableError
from chaperonin.kernels.hardware import processor_flags

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "source"
_MAIN = "kernels.cpp"
_FLAGS = (
    *("-std=c++17", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-falign-loops=64"),
    *("-shared", "-fPIC", "-pthread"),
)
_TUNED = ("-march=native", "-mprefer-vector-width=512")
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 300


def lacks() -> str:
    """Why there are no such kernels here; empty when there are. Compiles them where that was never done."""
    if "why" not in _missing:
        try:
            library()
            _missing["why"] = ""
        except ChaperoninError as error:
            _missing["why"] = error.what
    return _missing["why"]


_missing: dict[str, str] = {}
"""The answer, once it is known. A plain dict: torch.compile traces what reads it."""


@cache
def library() -> ctypes.CDLL:
    """The loaded kernels; UnavailableError where they cannot be compiled, loaded or kept."""
    tuned = _TUNED if platform.machine() in ("x86_64", "AMD64") else _TUNED[:1]
    return load(compile_sources(cache_folder(), tuned))


def cache_folder() -> Path:
    """Where compiled kernels are kept: XDG_CACHE_HOME holds."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise UnavailableError(
            "there is no home directory to keep compiled kernels in; set XDG_CACHE_HOME"
        ) from error
    return Path(root) / "chaperonin" / "kernels"


def load(file: Path) -> ctypes.CDLL:
    """Load what was compiled; its functions let go of the interpreter while they run."""
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise UnavailableError(f"compiled kernels cannot be loaded ({error})") from error


def compile_sources(folder: Path, tuned: tuple[str, ...]) -> Path:
    """The compiled kernels in a folder, made now unless they are there; UnavailableError where that fails."""
    compiler = find_compiler()
    file = folder / f"{_fingerprint(compiler, tuned)}.so"
    try:
        if file.exists():
            return file
        log.info("compiling kernels for this processor (once, some seconds)")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # In a folder of its own: other processes may be compiling the same.
        with TemporaryDirectory(dir=folder, prefix=".") as own:
            made = Path(own) / file.name
            _compile([*compiler, *_FLAGS, *tuned, str(SOURCES / _MAIN), "-o", str(made)])
            os.replace(made, file)
    except OSError as error:
        raise UnavailableError(f"compiled kernels cannot be kept in {folder} ({error.strerror})") from error
    return file


def find_compiler() -> list[str]:
    """The command of the C++ compiler: CXX, or the first of the usual names; UnavailableError where there is none."""
    asked = shlex.split(os.environ.get("CXX", ""))
    names = asked[:1] or list(_COMPILERS)
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise UnavailableError(f"no C++ compiler ({', '.join(names)}); Debian: apt-get install g++")
    return [found, *asked[1:]]


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} did not end within {_SECONDS} s") from error
    if done.returncode:
        wrong = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise UnavailableError(f"{command[0]} cannot compile the kernels ({wrong.strip()})")


def _fingerprint(compiler: list[str], tuned: tuple[str, ...]) -> str:
    real = Path(compiler[0]).resolve()
    parts = [str(real), str(real.stat().st_mtime_ns), platform.machine(), processor_flags()]
    parts += [*compiler[1:], *_FLAGS, *tuned]
    content = [file.read_bytes() for file in sorted(SOURCES.iterdir()) if file.is_file()]
    return hashlib.sha256(b"\0".join([*(part.encode() for part in parts), *content])).hexdigest()[:24]
