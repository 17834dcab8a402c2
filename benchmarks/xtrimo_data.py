"""Tables for four of the xTrimoPGLM tasks, from real data: sequence, label, and stage (train, val or test)."""

import csv
import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaperonin.data.label_formats import masked
from chaperonin.files import write_atomically

Rows = list[dict[str, str]]
GAPS = {0: "S", 117: "L", 118: "V", 236: "K"}
"""Residues of avGFP (P42212, from its second) that no variant of the table has changed."""
LONGEST_TRAINED = 3
"""Changes of a variant of avGFP that may train; those with more are the test (Rao et al. 2019)."""


@dataclass(frozen=True)
class Subject:
    """One task on real data."""

    name: str
    config: str
    """Of configs/xtrimo."""
    rows: Callable[[Path], Rows]
    sizes: dict[str, int]
    """Most of each stage, drawn with seed 0; 0: all."""
    truncate: int
    about: str
    models: tuple[str, ...] = ("frozen",)
    """How the bundled model is trained; LoRA where sequences are short enough for minutes."""

    def write(self, data: Path, path: Path, share: float = 1.0) -> Rows:
        """The table, drawn from real data; share: of the sizes, for a quick run."""
        found = self.rows(data)
        draw = random.Random(0)
        chosen: Rows = []
        for stage, size in self.sizes.items():
            own = [row for row in found if row["stage"] == stage]
            count = round(share * min(size or len(own), len(own)))
            chosen += own if count == len(own) else draw.sample(own, count)
        lines = [f"{row['sequence']}\t{row['label']}\t{row['stage']}" for row in chosen]
        write_atomically(path, "\n".join(["sequence\tlabel\tstage", *lines]) + "\n")
        return [self._cut(row) for row in chosen]

    def _cut(self, row: dict[str, str]) -> dict[str, str]:
        """The row as the preset's `truncate` leaves it."""
        label = row["label"][: self.truncate] if self.config == "ssp_q3" else row["label"]
        return {**row, "sequence": row["sequence"][: self.truncate], "label": label}


def gb1(data: Path) -> Rows:
    """FLIP's split of GB1 by number of changes: up to three train."""
    split = "three_vs_rest"
    found = _table(data / "tasks/gb1_flip_all_splits.csv.gz")
    stages = ["val" if row[f"{split}_val"] == "True" else row[split] for row in found]
    return [
        {"sequence": row["sequence"], "label": row["target"], "stage": stage}
        for row, stage in zip(found, stages, strict=True)
    ]


def fluorescence(data: Path) -> Rows:
    """avGFP with up to three changes for training (one in ten for validation), with more for the test."""
    found = _table(data / "tasks/fluorescence_avGFP_sarkisyan.tsv.gz")
    changes = [[change for change in row["aaMutations"].split(":") if change] for row in found]
    residues = GAPS | {int(change[2:-1]): change[1] for own in changes for change in own}
    wild = "".join(residues[place] for place in range(len(residues)))
    draw, rows = random.Random(1), []
    for row, own in zip(found, changes, strict=True):
        if any(change.endswith("*") for change in own):
            continue
        letters = list(wild)
        for change in own:
            letters[int(change[2:-1])] = change[-1]
        trained = "val" if draw.random() < 0.1 else "train"
        stage = trained if len(own) <= LONGEST_TRAINED else "test"
        rows.append({"sequence": "".join(letters), "label": row["medianBrightness"], "stage": stage})
    return rows


def secondary_structure(data: Path) -> Rows:
    """FLIP's chains of three states, unresolved residues unknown; its validation part is the test."""
    draw = random.Random(1)
    return [
        {
            "sequence": row["sequence"],
            "label": masked(row["label"], row["mask"]),
            "stage": "test" if row["split"] == "valid" else "val" if draw.random() < 0.1 else "train",
        }
        for row in _table(data / "tasks/secondary_structure3_flip_train.tsv.gz")
    ]


def localization(data: Path) -> Rows:
    """DeepLoc 1's places, whose folds share no kin: six train, one chooses, one tests."""
    return [
        {
            "sequence": row["sequence"],
            "label": row["location"],
            "stage": {"6": "val", "7": "test"}.get(row["fold"], "train"),
        }
        for row in _table(data / "localization/deeploc1_train.tsv.gz")
    ]


SUBJECTS = (
    Subject(
        "GB1",
        "fitness_prediction",
        gb1,
        {"train": 0, "val": 0, "test": 2000},
        truncate=56,
        about="FLIP's three against rest, on the 56 residues of GB1",
        models=("frozen", "LoRA"),
    ),
    Subject(
        "fluorescence",
        "fluorescence_prediction",
        fluorescence,
        {"train": 2000, "val": 300, "test": 1000},
        truncate=511,
        about="avGFP, with up to three changes for training and four or more for the test",
    ),
    Subject(
        "secondary structure",
        "ssp_q3",
        secondary_structure,
        {"train": 800, "val": 100, "test": 250},
        truncate=511,
        about="FLIP's three states of resolved residues, with its validation part as the test",
    ),
    Subject(
        "localization",
        "localization_prediction",
        localization,
        {"train": 2000, "val": 300, "test": 600},
        truncate=511,
        about="DeepLoc 1's ten places, with folds 0 to 5 for training, 6 for validation and 7 for the test",
    ),
)


def _table(path: Path) -> Rows:
    mark = "\t" if ".tsv" in path.name else ","
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter=mark))
