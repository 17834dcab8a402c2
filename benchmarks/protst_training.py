"""Rows of `./go bench protst` about the head on a frozen tower: time, and the loss at every step.

The published fine-tuning trains a head 1280 → 1280 → 2 alone, at a constant rate and without weight decay, and runs the
tower on every batch of each epoch. Its vectors never change, so the package computes them once.
"""

import argparse
import csv
from pathlib import Path

from benchmarks import finetune_sides, protst_sides
from benchmarks.setting import Setting
from benchmarks.table import Row
from benchmarks.timing import Side, interleave

EPOCHS = 100
BATCH = 32
"""Proteins of a step, as published."""
CURVE = {"batches": 3, "batch": 2, "epochs": 3}
"""Of the loss curve: more steps from fewer passes through the tower."""
AGREE = 1e-4
"""Largest relative difference of a loss between fp32 sides: 33 layers of rounding."""
RECIPE = [
    "kind=multiclass",
    "head.hidden=relu",
    "split.method=given",
    "split.test_share=0",
    f"training.schedule.peak={protst_sides.RATE}",
    "training.schedule.warmup_steps=1",
    "training.schedule.final_share=1",
    f"training.clip_norm={protst_sides.LONGEST_GRADIENT}",
    "training.optimizer.weight_decay=0",
    "training.optimizer.betas=[0.9, 0.999]",
    "training.log_every=1",
]
"""The published fine-tuning in our settings: AdamW at a constant rate, two logits."""


def head_only(setting: Setting, folder: Path, options: argparse.Namespace) -> Row:
    """A whole training on cached vectors, against as many epochs that run the tower."""
    batch = 8 if setting.quick else BATCH
    given, origin = _settings(setting, folder, options.batches, batch, EPOCHS)
    samples = setting.interleave(_sides(setting, folder, given, 1))
    ours, theirs = (found["losses"] for found in samples.results)
    difference = largest_difference(ours[: len(theirs)], theirs)
    if difference > AGREE:
        raise RuntimeError(f"the sides disagree: losses of the first epoch differ by {difference:.2g}")
    cached, epoch = samples.medians()
    notes = f"batches of {batch}, {options.batches} in an epoch, and a quarter as many proteins to validate; {origin}; "
    notes += (
        f"{options.depth} of 33 layers, fp32; labels made up; ours from loading the model to the last of "
    )
    notes += f"{len(ours):,} steps; the other side is extrapolated: {EPOCHS} times one measured epoch of {epoch:.1f} s"
    return Row(
        f"head-only training, {EPOCHS} epochs, against the published script's shape",
        f"{cached:.1f} s",
        f"{EPOCHS * epoch:,.0f} s",
        EPOCHS * epoch / cached,
        30,
        80,
        notes=notes,
        samples={"cached_seconds": samples.seconds[0], "epoch_seconds": samples.seconds[1]},
    )


def loss_curve(setting: Setting, folder: Path, options: argparse.Namespace) -> Row:
    """The loss of every step on cached vectors, beside a run of the tower by transformers in each epoch."""
    given, origin = _settings(setting, folder, **CURVE)
    sides = _sides(setting, folder, given, CURVE["epochs"])
    found = interleave(sides, 0, setting.threads, apart=not setting.quick).results
    ours, theirs = (own["losses"] for own in found)
    notes = f"largest relative difference of {len(ours)} steps in {CURVE['epochs']} epochs, batches of "
    notes += f"{CURVE['batch']}; {origin}; {options.depth} of 33 layers; labels made up; shown are the last losses, "
    notes += f"the first one is {theirs[0]:.6f}"
    return Row(
        "loss curve equal to running the backbone in each epoch (fp32, same order)",
        f"{ours[-1]:.6f}",
        f"{theirs[-1]:.6f}",
        largest_difference(ours, theirs),
        AGREE,
        1e-5,
        unit="",
        notes=notes,
        lower_is_better=True,
        samples={"ours": ours, "theirs": theirs},
    )


def largest_difference(ours: list[float], theirs: list[float]) -> float:
    """Largest relative difference of two curves, step by step."""
    return max(abs(own - other) / other for own, other in zip(ours, theirs, strict=True))


def _sides(setting: Setting, folder: Path, given: list[str], epochs: int) -> list[Side]:
    filled = 256 if setting.quick else 1024
    arguments = {"overrides": given, "folder": str(folder), "filled": filled, "epochs": epochs}
    return [
        Side(finetune_sides.cached_epochs, {"overrides": given}),
        Side(protst_sides.train_theirs, arguments),
    ]


def _settings(setting: Setting, folder: Path, batches: int, batch: int, epochs: int) -> tuple[list[str], str]:
    """Settings for whole batches of proteins with labels in turn, a quarter as many to validate; and their origin."""
    sequences, origin = setting.proteins(batches * batch * 5 // 4)
    path = setting.scratch / f"labelled-{batches}-{batch}.csv"
    with path.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened, lineterminator="\n")
        lines.writerow(["id", "sequence", "label", "stage"])
        for number, sequence in enumerate(sequences):
            stage = "train" if number < batches * batch else "val"
            lines.writerow([f"p{number}", sequence, "MS"[number % 2], stage])
    own = [f"data.input={path}", f"model={folder}", f"batch_size={batch}", f"epochs={epochs}"]
    return [*own, *RECIPE], origin
