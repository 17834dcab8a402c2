"""Small folders in the layout of the xTrimoPGLM sets on the hub: parquet files with `seq` and `label`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

CLASSES = {
    "fold_prediction": (0, 17, 1194),
    "localization_prediction": tuple(range(10)),
    "antibiotic_resistance": tuple(range(19)),
}
"""Of the tasks with more than two."""
VALUES = (
    "fluorescence_prediction",
    "fitness_prediction",
    "stability_prediction",
    "enzyme_catalytic_efficiency",
    "optimal_temperature",
    "optimal_ph",
)
WITHOUT_VALID = ("ssp_q3", "localization_prediction", "antibiotic_resistance", "tcr_pmhc_affinity")
OILY = "AILMFVWC"


def write_task(folder: Path, name: str, rows: int = 12) -> dict[str, list[Any]]:
    """The files of a task; returns the labels of each part as they were written."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(6)
    written = {}
    for part in ("train", "valid", "test"):
        if part == "valid" and name in WITHOUT_VALID:
            continue
        count = 4 * rows if part == "train" else rows
        sequences = [
            "".join(generator.choice(list("DEKRNQST" + OILY), size))
            for size in generator.integers(20, 60, count)
        ]
        labels = [label_of(name, sequence, number) for number, sequence in enumerate(sequences)]
        if "affinity" in name:
            sequences = [f"{sequence[:9]}|{sequence[9:]}" for sequence in sequences]
        table = pa.table({"seq": sequences, "label": pa.array(labels)})
        parquet.write_table(table, folder / f"{part}-00000-of-00001.parquet")
        written[part] = labels
    return written


def label_of(name: str, sequence: str, number: int) -> Any:
    """A label that follows from the letters, or from the number where each class must occur."""
    is_oily = [letter in OILY for letter in sequence]
    if name == "contact_prediction_binary":
        return contacts(is_oily)
    if name == "ssp_q3":
        return [2 if place < 3 else int(own) for place, own in enumerate(is_oily)]
    if name in VALUES:
        return round(float(np.mean(is_oily)) + number / 100, 3)
    classes = CLASSES.get(name, (0, 1))
    return classes[number % len(classes)]


def contacts(is_oily: Sequence[bool]) -> list[list[int]]:
    """Pairs counted from 0, the diagonal among them, as a contact map lists those of its upper half."""
    places = range(len(is_oily))
    return [
        [first, second]
        for first in places
        for second in places[first:]
        if second - first < 2 or (is_oily[first] and is_oily[second] and (first + second) % 3 == 0)
    ]
