"""How a result came about: settings, versions, hardware, times and memory, saved beside it as run.json."""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chaperonin.files import write_atomically
from chaperonin.kernels.host_memory import peak_resident_bytes

PACKAGES = ("chaperonin", "torch", "numpy", "safetensors", "biotite", "h5py", "pyarrow", "scikit-learn")


@dataclass(frozen=True)
class PeakMemory:
    """The most memory that was in use at once: by the process, and by tensors on the accelerator."""

    host_bytes: int
    device_bytes: int | None


class Provenance:
    """What run.json will say of one run; make it when the run begins."""

    def __init__(
        self, verb: str, config: object, *, model: Mapping[str, Any] | None = None, seed: int | None = None
    ):
        """`config` is the resolved settings (a dataclass or a mapping), `model` name, sha256, parameters."""
        self._started = datetime.now(UTC)
        self._head = {"verb": verb, "command": _readable(shlex.join(sys.argv))}
        self.config = config
        """What run.json will say the settings were: a sweep finds some of them."""
        self.model: Mapping[str, Any] = model or {}
        self.seed = seed
        self.seconds: dict[str, float] = {}
        """Time that each stage took in this run."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def collect(
        self, *, records: Mapping[str, int], tokens: int, predicted_bytes: int | None = None
    ) -> dict[str, Any]:
        """All of run.json as it is now; `records` has read, done, failed, unique."""
        peak = peak_memory()
        return {
            **self._head,
            "config": _plain(self.config),
            "model": _plain(self.model),
            "versions": versions(),
            "hardware": hardware(),
            "seed": self.seed,
            "started": self._started.isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "records": dict(records),
            "tokens": tokens,
            "memory": {
                "predicted_bytes": predicted_bytes,
                "measured_bytes": peak.host_bytes if peak.device_bytes is None else peak.device_bytes,
                "host_bytes": peak.host_bytes,
            },
        }

    def write(
        self, outdir: Path, *, records: Mapping[str, int], tokens: int, predicted_bytes: int | None = None
    ) -> Path:
        """Write OUTDIR/run.json and return its path."""
        path = outdir / "run.json"
        content = self.collect(records=records, tokens=tokens, predicted_bytes=predicted_bytes)
        write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        return path


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and accelerators of this machine."""
    found: dict[str, Any] = {
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [],
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return found


def peak_memory() -> PeakMemory:
    """Peaks since the process began; the accelerator's counts tensors, and is None where none was used."""
    torch = sys.modules.get("torch")
    device_bytes = None
    if torch is not None and torch.cuda.is_initialized():
        device_bytes = sum(
            torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count())
        )
    return PeakMemory(peak_resident_bytes(), device_bytes)


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _readable(text: str) -> str:
    """Text that UTF-8 can hold: a file name may have any bytes."""
    return os.fsencode(text).decode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else _readable(str(value))
