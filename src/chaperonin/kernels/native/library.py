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
import shutil
import subprocess
from functools import cache
from pathlib import Path

from chaperonin.errors import ChaperoninError, UnavailableError
from chaperonin.files import atomic_file
from chaperonin.kernels.hardware import processor_flags

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "source"
_MAIN = "kernels.cpp"
_FLAGS = ("-std=c++17", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_TUNED = ("-march=native", "-mprefer-vector-width=512")
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 300


@cache
def lacks() -> str:
    """Why there are no such kernels here; empty when there are. Compiles them where that was never done."""
    try:
        library()
    except ChaperoninError as error:
        return error.what
    return ""


@cache
def library() -> ctypes.CDLL:
    """The loaded kernels; UnavailableError where they cannot be compiled, loaded or kept."""
    tuned = _TUNED if platform.machine() in ("x86_64", "AMD64") else _TUNED[:1]
    return load(compile_sources(cache_folder(), tuned))


def cache_folder() -> Path:
    """Where compiled kernels are kept: XDG_CACHE_HOME holds."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
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
    if file.exists():
        return file
    log.info("compiling kernels for this processor (once, some seconds)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary:
            _compile([compiler, *_FLAGS, *tuned, str(SOURCES / _MAIN), "-o", str(temporary)])
    except OSError as error:
        raise UnavailableError(f"compiled kernels cannot be kept in {folder} ({error.strerror})") from error
    return file


def find_compiler() -> str:
    """The C++ compiler: CXX, or the first of the usual names; UnavailableError where there is none."""
    names = (os.environ["CXX"],) if os.environ.get("CXX") else _COMPILERS
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise UnavailableError(f"no C++ compiler ({', '.join(names)}); Debian: apt-get install g++")
    return found


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} did not end within {_SECONDS} s") from error
    if done.returncode:
        wrong = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise UnavailableError(f"{command[0]} cannot compile the kernels ({wrong.strip()})")


def _fingerprint(compiler: str, tuned: tuple[str, ...]) -> str:
    real = Path(compiler).resolve()
    parts = [str(real), str(real.stat().st_mtime_ns), platform.machine(), processor_flags(), *_FLAGS, *tuned]
    content = [file.read_bytes() for file in sorted(SOURCES.iterdir()) if file.is_file()]
    return hashlib.sha256(b"\0".join([*(part.encode() for part in parts), *content])).hexdigest()[:24]
