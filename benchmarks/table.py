"""Rows of a benchmark table: what was measured, beside what it should reach."""

import json
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from chaperonin.kernels.hardware import describe

Verdict = Literal["reached", "met", "missed", "shown", "not run"]
PACKAGES = ("chaperonin", "torch", "transformers", "numpy", "openvino")


@dataclass(frozen=True)
class Row:
    """One line of the table. `value` is what the two bounds are about: mostly how many times better ours is."""

    measure: str
    ours: str
    theirs: str
    value: float | None
    at_least: float | None = None
    reach_for: float | None = None
    unit: str = "x"
    notes: str = ""
    lower_is_better: bool = False
    """Whether the bounds are upper bounds."""
    samples: dict[str, Any] = field(default_factory=dict)
    """Everything measured, for the JSON."""

    @property
    def verdict(self) -> Verdict:
        """How the value stands to its bounds."""
        if self.value is None:
            return "not run"
        if self.at_least is None and self.reach_for is None:
            return "shown"
        sign = -1 if self.lower_is_better else 1
        if self.reach_for is not None and sign * self.value >= sign * self.reach_for:
            return "reached"
        if self.at_least is None:
            return "missed" if self.reach_for is None else "shown"
        return "met" if sign * self.value >= sign * self.at_least else "missed"


def not_run(measure: str, why: str) -> Row:
    """A row that this machine or this checkout cannot measure, and the reason."""
    return Row(measure, "-", "-", None, notes=why)


def as_text(rows: list[Row]) -> str:
    """The table as Markdown, notes below it."""
    lines = [
        "| measure | ours | theirs | value | at least | reach for | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bounds = [_number(bound, row.unit) for bound in (row.value, row.at_least, row.reach_for)]
        lines.append(f"| {row.measure} | {row.ours} | {row.theirs} | {' | '.join(bounds)} | {row.verdict} |")
    notes = [f"- {row.measure}: {row.notes}" for row in rows if row.notes]
    return "\n".join([*lines, "", *notes])


def as_json(rows: list[Row], machine: dict[str, Any]) -> str:
    """Machine, versions, and every row with every sample."""
    listed = [{**asdict(row), "verdict": row.verdict} for row in rows]
    return json.dumps({"machine": machine, "rows": listed}, indent=2) + "\n"


def machine(threads: int) -> dict[str, Any]:
    """Where and with what a table was measured."""
    return {
        **asdict(describe()),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "load_average_at_start": load_average(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def load_average() -> list[float]:
    """How busy the machine is: processes that want to run, over 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def write(path: Path, text: str) -> None:
    """Write a result file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.4g}{unit}"
