"""Labelled proteins and random models for the measurements of fine-tuning."""

import csv
import random
from pathlib import Path

from benchmarks.esm_sides import Shape, write_random_model
from benchmarks.setting import residues

TABLE = Path("localization/deeploc1_train.tsv.gz")
RECIPE = (100, 512)
"""Shortest and longest protein of the published recipe on membrane proteins."""


def membrane(data: Path, *more: str) -> list[str]:
    """Settings for membrane or soluble on DeepLoc 1's training set, its folds kept whole, filtered by the recipe."""
    shortest, longest = RECIPE
    return [
        f"data.input={data / TABLE}",
        "data.id_column=acc",
        "data.label_column=membrane",
        "data.skip_labels=[NA,U]",
        f"data.shortest={shortest}",
        f"data.longest={longest}",
        "split.group_column=fold",
        *more,
    ]


def made_up(path: Path, lengths: list[int]) -> list[str]:
    """Settings for random proteins of two classes that differ in composition; the table is written once."""
    if not path.exists():
        draw = random.Random(0)
        rows = []
        for number, length in enumerate(lengths):
            label = "MS"[number % 2]
            marks = draw.choices("AILMFVWC" if label == "M" else "DEKRNQST", k=length // 4)
            sequence = "".join(marks) + residues(length - len(marks), draw)
            rows.append(
                [f"p{number}", sequence, label, ("train", "train", "train", "val", "test")[number // 2 % 5]]
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows([["id", "sequence", "label", "stage"], *rows])
    return [f"data.input={path}", "split.method=given"]


def mixed_lengths(count: int, scale: float = 5.9) -> list[int]:
    """Lengths like those of proteins: log-normal, cut at 1,022."""
    draw = random.Random(0)
    return [min(1022, int(draw.lognormvariate(scale, 0.7)) + 20) for _ in range(count)]


def random_model(scratch: Path, shape: Shape) -> str:
    """Folder of a random model of this shape, written once."""
    folder = scratch / "_".join(f"{name}{value}" for name, value in shape.items())
    if not (folder / "config.json").exists():
        write_random_model(folder, shape)
    return str(folder)
