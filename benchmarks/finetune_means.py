"""Rows that `chaperonin bench finetune` measures itself: what the means lose, and how well memory is foreseen."""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.finetune_data import TABLE, made_up, membrane, mixed_lengths, random_model
from benchmarks.table import Row, not_run

if TYPE_CHECKING:
    from chaperonin.training.comparison import Comparison, Measured

WIDTHS = {192: {"width": 192, "depth": 5, "heads": 6}, 320: {"width": 320, "depth": 6, "heads": 20}}
WIDTHS[480] = {"width": 480, "depth": 12, "heads": 20}
"""Width → shape: the bundled model's, and those of the published 8M and 35M ones."""
_LOST = "accuracy on membrane or soluble, all means less base"


def accuracy(options: argparse.Namespace) -> list[Row]:
    """All means together less base, over seeds; each seed is tested on other folds of DeepLoc 1."""
    if not options.quick and not (options.data / TABLE).exists():
        return [not_run(_LOST, f"no {options.data / TABLE}: set CHAPERONIN_DATA")]
    given = membrane(options.data, "split.folds=5", "batch_size=8", f"epochs={options.epochs}")
    if options.quick:
        given = [*made_up(options.scratch / "quick.csv", [40] * 60), "batch_size=8", "epochs=2"]
    seeds = 1 if options.quick else options.seeds
    found = _compare(given, options.scratch / "accuracy", seeds, ("base", "all"))
    base, together = found.rows
    texts = [f"{found.value(row)[0]:.4f}" for row in (together, base)]
    mean, low, high = found.difference(together)
    notes = f"bundled model, {seeds} seeds, {options.epochs:g} epochs; "
    notes += f"95 % interval {low:+.4f} to {high:+.4f}; " if low == low else ""
    notes += f"MCC {_mean(together, 'mcc'):.3f} against {_mean(base, 'mcc'):.3f}"
    samples = {row.name: row.trials for row in found.rows}
    return [Row(_LOST, *texts, mean, -0.01, -0.003, unit="", notes=notes, samples=samples)]


def prediction(options: argparse.Namespace) -> list[Row]:
    """Predicted beside measured peak memory of every row of the comparison, at several widths."""
    from chaperonin.training.comparison import ROWS

    names = ("base", "all") if options.quick else tuple(ROWS)
    widths = [192] if options.quick else list(WIDTHS)
    rows = []
    for width in widths:
        model = random_model(options.scratch, WIDTHS[width])
        lengths = mixed_lengths(200, 3.0 if options.quick else 5.9)
        table = options.scratch / f"memory{'-quick' * options.quick}.csv"
        given = [*made_up(table, lengths), f"model={model}", "batch_size=16", "training.steps=8"]
        given.append("training.tight_memory=true")
        found = _compare(given, options.scratch / f"memory-{width}{'-quick' * options.quick}", 1, names)
        rows += [_predicted(width, row) for row in found.rows]
    worst = max(abs(row.value - 1) for row in rows if row.value is not None)
    summary = Row(
        "predicted against measured peak memory, worst of these",
        "-",
        "-",
        100 * worst,
        15,
        5,
        unit=" %",
        lower_is_better=True,
    )
    return [*rows, summary]


def _predicted(width: int, row: "Measured") -> Row:
    measure = f"predicted / measured peak memory, width {width}, {row.title}"
    if not row.trials:
        return not_run(measure, row.note)
    texts = (f"{row.predicted_bytes / 1e6:,.0f} MB", f"{row.peak_bytes / 1e6:,.0f} MB")
    held = row.trials[0]["held_bytes"]
    notes = f"{held / 1e6:,.0f} MB held before the model was loaded"
    return Row(
        measure, *texts, row.predicted_bytes / row.peak_bytes, notes=notes, samples={"trials": row.trials}
    )


def _compare(given: list[str], folder: Path, seeds: int, names: tuple[str, ...]) -> "Comparison":
    from chaperonin.config import resolve
    from chaperonin.kernels.hardware import choose_device
    from chaperonin.training.comparison import compare
    from chaperonin.training.finetune_settings import FineTuning
    from chaperonin.training.material import read_material

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = resolve(FineTuning, overrides=given)
    material = read_material(settings.data, settings.split, settings.task, settings.kind, settings.classes)
    found = compare(settings, material, folder, choose_device("cpu"), seeds, names)
    for row in found.rows:
        if not row.trials:
            raise RuntimeError(f"{row.title}: {row.note}")
    return found


def _mean(row: "Measured", measure: str) -> float:
    values = row.values(measure)
    return sum(values) / len(values)
