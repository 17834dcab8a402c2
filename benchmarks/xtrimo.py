"""./go bench xtrimo: four of the xTrimoPGLM tasks on real data, with the bundled model beside simple baselines.

Each task is trained with its preset (configs/xtrimo) as a user would train it, on a frozen base (GB1 with LoRA too),
and judged on the same test part as ridge on one-hot letters and BLOSUM62 distances. The data are the open sets
that the tasks go back to, not the files of the benchmark, and the larger ones are subsampled with seed 0. It took
about twenty minutes on one core of a busy machine; a run that is stopped goes on.

    ./go bench xtrimo --out runs/xtrimo
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import xtrimo_baselines as baselines
from benchmarks.setting import add_data_option
from benchmarks.table import machine
from benchmarks.xtrimo_data import SUBJECTS, Rows, Subject
from chaperonin.cli.main import main as chaperonin
from chaperonin.config import resolve
from chaperonin.files import write_atomically
from chaperonin.tasks.figures import figures
from chaperonin.tasks.target import Target
from chaperonin.training.finetune_settings import FineTuning

CONFIGS = Path(__file__).parents[1] / "configs/xtrimo"
SEEN = {"train": "training", "val": "validation", "test": "test"}
MODELS = {
    "frozen": ("means.method=frozen", "training.schedule.peak=1e-3", "epochs=60", "training.patience=8"),
    "LoRA": ("training.schedule.peak=1e-3", "epochs=3"),
}
"""What differs from the preset, for a small model on few examples: a higher rate, and more or fewer passes."""
COLUMNS = {
    "frozen": "bundled model, frozen",
    "LoRA": "bundled model, LoRA",
    "one-hot": "one-hot ridge",
    "BLOSUM": "BLOSUM62",
    "wild type": "BLOSUM62 to the wild type",
}
Figure = dict[str, float]


def main(arguments: list[str]) -> int:
    """Train, judge, print, and write what is printed as JSON; returns the exit code."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    measured = [_judged(subject, options) for subject in SUBJECTS if subject.name in options.tasks]
    print(as_text(measured))
    result = {"machine": machine(options.threads), "tasks": measured}
    write_atomically(options.out / "xtrimo.json", json.dumps(result, indent=2) + "\n")
    return 0


def _judged(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """One task: its sizes, its measure, and that figure of every column."""
    folder = options.out / subject.config
    folder.mkdir(parents=True, exist_ok=True)
    rows = subject.write(options.data, folder / "table.tsv", 0.02 if options.quick else 1.0)
    measure = resolve(FineTuning, file=CONFIGS / f"{subject.config}.yaml").training.best
    found: dict[str, Figure] = {}
    for name in subject.models:
        reached = _trained(subject, name, folder, options)
        found[name] = reached["result"][measure]
    target = Target.from_json(reached["target"])
    found |= _baselines(target, rows, measure)
    sizes = {stage: sum(row["stage"] == stage for row in rows) for stage in SEEN}
    return {
        "task": subject.name,
        "about": subject.about,
        "measure": measure,
        "sizes": sizes,
        "figures": found,
    }


def _trained(subject: Subject, name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """metrics.json of `chaperonin train` with the preset."""
    config, out = CONFIGS / f"{subject.config}.yaml", folder / name
    overrides = [f"data.input={folder / 'table.tsv'}", f"truncate={subject.truncate}", *MODELS[name]]
    overrides += ["batch_size=32", "training.log_every=200"]
    if options.quick:
        overrides += ["training.steps=2"]
    words = [word for override in overrides for word in ("--set", override)]
    if chaperonin(["train", str(config), str(out), "--device", "cpu", *words]) == 1:
        raise SystemExit(f"{subject.name} was not trained")
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found


def _baselines(target: Target, rows: Rows, measure: str) -> dict[str, Figure]:
    """The measure of each baseline, with its interval."""
    parts = {}
    for stage in SEEN:
        own = [row for row in rows if row["stage"] == stage]
        truth = [target.encode(row["label"], len(row["sequence"])) for row in own]
        parts[stage] = baselines.Part([row["sequence"] for row in own], truth)
    said = {"one-hot": baselines.one_hot_ridge(target, parts), "BLOSUM": baselines.blosum(target, parts)}
    if target.kind == "regression":
        wild = baselines.commonest(parts["train"].sequences)
        said["wild type"] = list(-baselines.distances(parts["test"].sequences, [wild])[:, 0])
    return {name: figures(target, parts["test"].truth, own)[measure] for name, own in said.items()}


def as_text(measured: list[dict[str, Any]]) -> str:
    """A line a task, figures with 95 % intervals, and below what the tasks are."""
    lines = [f"| task | measure | {' | '.join(COLUMNS.values())} |", "|---|---|" + "---|" * len(COLUMNS)]
    for own in measured:
        cells = [_shown(own["figures"].get(name)) for name in COLUMNS]
        lines.append(f"| {own['task']} | {own['measure']} | {' | '.join(cells)} |")
    notes = []
    for own in measured:
        sizes = ", ".join(f"{count:,} {SEEN[stage]}" for stage, count in own["sizes"].items())
        notes.append(f"- {own['task']}: {own['about']}; {sizes}.")
    return "\n".join([*lines, "", *notes])


def _shown(figure: Figure | None) -> str:
    return "-" if figure is None else f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./go bench xtrimo", description=(__doc__ or "").partition("\n")[0])
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument(
        "--out", type=Path, default=Path("runs/xtrimo"), help="folder of runs and xtrimo.json"
    )
    parser.add_argument("--tasks", nargs="+", choices=names, default=names, help="some of the tasks")
    parser.add_argument(
        "--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="frozen, LoRA"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="two steps on a fiftieth of the data: a test")
    add_data_option(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
