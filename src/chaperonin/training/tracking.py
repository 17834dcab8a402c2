"""Metrics of a run: one JSON line per event in `metrics.jsonl`, and the same for people on stderr."""

import json
import logging
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

FILE_NAME = "metrics.jsonl"

log = logging.getLogger(__name__)


class Tracker:
    """Appends to `metrics.jsonl`; lines after the step that a run goes on from are dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / FILE_NAME
        kept = [line for line in read_metrics(self.path) if line["step"] <= step]
        partial = self.path.with_name(f".{FILE_NAME}.part")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        os.replace(partial, self.path)
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, event: str, step: int, **values: Any) -> None:
        """Note an event (`train`, `evaluate`) after a step."""
        line = {"event": event, "step": step, **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        log.info("%s", describe(line))

    def close(self) -> None:
        """Bring the lines to the disk."""
        os.fsync(self._file.fileno())
        self._file.close()


class NoTracker(Tracker):
    """Notes nothing: what the processes have that are not the first."""

    def __init__(self) -> None:
        pass

    def write(self, event: str, step: int, **values: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Meter:
    """Sums since the last line of metrics."""

    def __init__(self, tokens: int) -> None:
        self._start(tokens)

    def _start(self, tokens: int) -> None:
        self._targets = 0.0
        self._sums: dict[str, Tensor] = {}
        self._tokens = tokens
        self._since = time.monotonic()

    def add(self, targets: float, sums: dict[str, Tensor]) -> None:
        """Count one step."""
        self._targets += targets
        add(self._sums, sums)

    def take(self, tokens: int) -> dict[str, float]:
        """Means per target since the last call, and tokens per second."""
        values = {name: float(total) / (self._targets or 1) for name, total in self._sums.items()}
        speed = (tokens - self._tokens) / max(1e-9, time.monotonic() - self._since)
        self._start(tokens)
        return {**values, "tokens_per_second": round(speed)}


def add(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    """Add to sums, by name."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that a kill cut short is left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def describe(line: dict[str, Any]) -> str:
    """An event in one line of text; what is of single layers stands in the file alone."""
    words = [
        f"{name} {_number(value)}"
        for name, value in line.items()
        if name != "event" and "_of_layer_" not in name
    ]
    return f"{line['event']:<8} {'  '.join(words)}"


def perplexity(loss: float) -> float:
    """exp(loss), the number of equally likely choices that a loss in nats amounts to."""
    return math.exp(min(loss, 700.0))


def _number(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """`42.0 s`, `4.2 min`."""
    return f"{seconds / 60:,.1f} min" if seconds >= 100 else f"{seconds:.1f} s"
