"""The means of fine-tuning side by side: same examples, seeds and optimizer steps, each row in processes of its own."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, Literal

import torch

from chaperonin.config import as_yaml
from chaperonin.errors import UsageError
from chaperonin.files import write_atomically
from chaperonin.kernels.hardware import lacks_bf16
from chaperonin.kernels.linear import lacks_int8
from chaperonin.tasks.folder import Base
from chaperonin.training import trial
from chaperonin.training.finetune_settings import FineTuning, planned
from chaperonin.training.material import Material
from chaperonin.training.means import Method
from chaperonin.training.precision import Precision
from chaperonin.training.results import write_table
from chaperonin.training.tracking import duration

JSON, CSV = "comparison.json", "comparison.csv"
_TRIALS = "trials"
_MEASURES = ("accuracy", "spearman", "precision at L/5", "f1")
"""The first of these that a task has is what its rows are compared by."""
_MOST_BATCHES = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Means:
    """A row: what it sets, whatever the user's settings say. All else is theirs."""

    title: str
    method: Method = "full"
    base: Literal["auto", "fp32", "int8"] = "fp32"
    recompute: bool = False
    accumulates: bool = False
    precision: Precision = "fp32"

    def settings(self, given: FineTuning) -> FineTuning:
        """The user's settings with this row's means, of the user's kind where there are several; no early end."""
        recompute = self.recompute and (given.means.recompute or True)
        means = replace(given.means, method=self.method, base=self.base, recompute=recompute)
        accumulate = batches_of(given) if self.accumulates else 1
        training = replace(given.training, accumulate=accumulate, precision=self.precision, patience=0)
        return replace(given, means=means, training=training)

    def note(self, given: FineTuning, device: torch.device) -> str:
        """What this machine or these settings take from the row; empty where it is all there."""
        if self.precision == "auto" and (lack := lacks_bf16(device)):
            return f"products in fp32: {lack}"
        if self.base == "int8" and (lack := lacks_int8()):
            return f"8-bit weights, products in fp32: {lack}"
        if self.accumulates and batches_of(given) == 1:
            return f"nothing to accumulate: batch_size {given.batch_size} cannot be cut into equal batches"
        return ""


ROWS = {
    "base": Means("base"),
    "accumulation": Means("+accumulation", accumulates=True),
    "checkpointing": Means("+checkpointing", recompute=True),
    "lora": Means("+LoRA", "lora"),
    "all": Means("all", "lora", "auto", recompute=True, accumulates=True, precision="auto"),
    "frozen": Means("frozen", "frozen"),
    "qlora": Means("QLoRA", "lora", "int8"),
}
"""Rows by name. `base` trains every weight in fp32, one batch a step; a + is that and one mean more."""


def batches_of(given: FineTuning) -> int:
    """Batches that a step is cut into where it is: as the user says, else the most that are equal, up to eight."""
    if given.training.accumulate > 1:
        return given.training.accumulate
    return max(count for count in range(1, _MOST_BATCHES + 1) if given.batch_size % count == 0)


@dataclass(frozen=True)
class Measured:
    """A row and what its processes measured."""

    name: str
    trials: list[dict[str, Any]] = field(default_factory=list)
    """What `trial.train` found, seed after seed; none where it could not run."""
    predicted_bytes: int = 0
    note: str = ""

    @property
    def title(self) -> str:
        """As tables call it."""
        return ROWS[self.name].title

    @property
    def seconds(self) -> float:
        """Median over the seeds."""
        return median(float(own["seconds"]) for own in self.trials)

    @property
    def peak_bytes(self) -> int:
        """Highest of the seeds."""
        return max(int(own["peak_bytes"]) for own in self.trials)

    def values(self, measure: str) -> list[float]:
        """The measure of each seed."""
        return [float(own["figures"][measure]["value"]) for own in self.trials]


@dataclass(frozen=True)
class Comparison:
    """All rows."""

    rows: list[Measured]

    @cached_property
    def measure(self) -> str:
        """What rows are compared by."""
        named = [own["figures"] for row in self.rows for own in row.trials]
        found = [name for name in _MEASURES if named and all(name in figures for figures in named)]
        return found[0] if found else ""

    @property
    def base(self) -> Measured | None:
        """The row that the others are held against, if it ran."""
        found = [row for row in self.rows if row.name == "base" and row.trials]
        return found[0] if found else None

    def value(self, row: Measured) -> tuple[float, float, float]:
        """Mean of the measure and its 95 % interval: over the seeds, or of one seed's examples by bootstrap."""
        if len(row.trials) == 1:
            figure = row.trials[0]["figures"][self.measure]
            return figure["value"], figure.get("low", float("nan")), figure.get("high", float("nan"))
        return mean_interval(row.values(self.measure))

    def difference(self, row: Measured) -> tuple[float, float, float] | None:
        """The measure less that of the base with the same seed: mean and 95 % interval; nan for one seed."""
        if self.base is None or len(row.trials) != len(self.base.trials):
            return None
        pairs = zip(row.values(self.measure), self.base.values(self.measure), strict=True)
        return mean_interval([own - base for own, base in pairs])

    def lines(self) -> Iterator[list[str]]:
        """The table, header first; times and memory as multiples of the base beside them."""
        measure = self.measure or "figure"
        yield [
            "means",
            "time",
            "of base",
            measure,
            "less base",
            "peak memory",
            "of base",
            "trained",
            "predicted",
        ]
        for row in self.rows:
            if not row.trials:
                yield [row.title, "not run", *[""] * 7]
                continue
            trained = f"{row.trials[0]['trainable']:,}"
            memory = f"{row.peak_bytes / 1e6:,.0f} MB"
            yield [
                row.title,
                duration(row.seconds),
                self._share(row, "seconds"),
                _with_interval(self.value(row)) if self.measure else "",
                "" if (less := self.difference(row)) is None or row is self.base else f"{less[0]:+.3f}",
                memory,
                self._share(row, "peak_bytes"),
                trained,
                f"{row.predicted_bytes / 1e6:,.0f} MB",
            ]

    def _share(self, row: Measured, what: str) -> str:
        return f"{getattr(row, what) / getattr(self.base, what):.2f}" if self.base is not None else ""

    def __str__(self) -> str:
        lines = list(self.lines())
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        rows = [
            "  ".join(
                f"{cell:<{width}}" if number == 0 else f"{cell:>{width}}" for number, (cell, width) in line
            )
            for line in (enumerate(zip(line, widths, strict=True)) for line in lines)
        ]
        notes = [f"{row.title}: {row.note}" for row in self.rows if row.note]
        return "\n".join([*(row.rstrip() for row in rows), *notes])

    def write(self, folder: Path) -> None:
        """comparison.csv, and comparison.json with everything that was measured."""
        listed = [{**vars(row), "title": row.title, "means": vars(ROWS[row.name])} for row in self.rows]
        write_table(folder / CSV, self.lines())
        content = json.dumps({"measure": self.measure, "rows": listed}, indent=2, ensure_ascii=False)
        write_atomically(folder / JSON, content + "\n")


def compare(
    settings: FineTuning,
    material: Material,
    folder: Path,
    device: torch.device,
    seeds: int = 1,
    names: Sequence[str] = tuple(ROWS),
) -> Comparison:
    """Train each row with each seed, in turn, and write what came of it. A trial that is done is not run again.

    With folds, each seed has the next one. A row that cannot run says why and stops no other.
    """
    _check(settings, material, seeds, names)
    steps = planned(settings, len(material.splits[0].training)).steps
    settings = replace(settings, training=replace(settings.training, steps=steps))
    rows = {name: Measured(name, note=ROWS[name].note(settings, device)) for name in names}
    for number in range(seeds):
        for name, row in list(rows.items()):
            if len(row.trials) == number:
                place = folder / _TRIALS / name / f"seed-{settings.training.seed + number}"
                rows[name] = _measure(row, settings, material, place, device, number)
    found = Comparison(list(rows.values()))
    found.write(folder)
    return found


def _check(settings: FineTuning, material: Material, seeds: int, names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in ROWS]:
        raise UsageError(f"no row is called {unknown[0]!r}", advice=f"There are: {', '.join(ROWS)}.")
    if seeds < 1:
        raise UsageError(f"{seeds} seeds measure nothing", advice="Give at least one.")
    if not len(material.splits[0].test):
        raise UsageError(
            "without a test part nothing says how good a row is",
            where="split.test_share",
            advice="Give it a share.",
        )


def _measure(
    row: Measured, given: FineTuning, material: Material, place: Path, device: torch.device, number: int
) -> Measured:
    """The row with one trial more, or with the reason why there is none."""
    own = ROWS[row.name].settings(given)
    own = replace(own, training=replace(own.training, seed=given.training.seed + number))
    split = number % len(material.splits)
    try:
        if number == 0:
            row = replace(
                row, predicted_bytes=_run("forecast", own, material, place, split, device)["predicted_bytes"]
            )
        found = _run("train", own, material, place, split, device)
    except UsageError as error:
        return replace(row, note=str(error))
    log.info("%s, seed %d: %.1f s, %.0f MB", row.title, number, found["seconds"], found["peak_bytes"] / 1e6)
    return replace(row, trials=[*row.trials, found])


def _run(
    mode: str, own: FineTuning, material: Material, place: Path, split: int, device: torch.device
) -> dict[str, Any]:
    """What a process of its own found, or has found before with the same settings, examples and weights.

    UsageError with the reason where it ended without a result.
    """
    text = as_yaml(own)
    key = sha256(f"{text}{split}{device}{material.dataset.sha256}{Base.of(own.model).sha256}".encode())
    result = place / f"{mode}.json"
    stored = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
    if stored.get("key") != key.hexdigest():
        place.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        write_atomically(place / trial.SETTINGS, text)
        _start([mode, str(place), str(split), str(device)], place / f"{mode}.log")
        stored = {"key": key.hexdigest(), **json.loads(result.read_text(encoding="utf-8"))}
        write_atomically(result, json.dumps(stored, indent=2) + "\n")
    return dict(stored)


def _start(arguments: Sequence[str], log_path: Path) -> None:
    with log_path.open("w", encoding="utf-8") as opened:
        command = [sys.executable, "-m", "chaperonin.training.trial", *arguments]
        code = subprocess.run(command, stdout=opened, stderr=opened, check=False).returncode
    if code == 0:
        return
    if code < 0:
        reason = f"ended by signal {-code}: most likely it needs more memory than there is"
    else:
        reason = (log_path.read_text(encoding="utf-8").strip().splitlines() or ["it said nothing"])[-1]
    raise UsageError(f"not run: {reason}", where=str(log_path))


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; nan for the interval of a single value."""
    mean = fmean(values)
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def _with_interval(value: tuple[float, float, float]) -> str:
    mean, low, high = value
    return f"{mean:.3f}" if low != low else f"{mean:.3f} ({low:.3f} to {high:.3f})"
