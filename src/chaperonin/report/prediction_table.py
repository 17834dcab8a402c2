"""predictions.csv as arrays."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.sources import csv_cell
from chaperonin.report.wording import mapping

FILE = "predictions.csv"

Form = Literal["value", "single", "several", "string"]
"""A number; one class; several classes; a text with a letter per residue, or pairs."""


@dataclass
class PredictionTable:
    """The rows of predictions.csv; what the file has not is empty or NaN."""

    form: Form = "string"
    level: str = "sequence"
    classes: tuple[str, ...] = ()
    ids: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    probability: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Of the label; for a number the value itself."""
    shares: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    """`[rows, classes]`"""
    distance: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    in_domain: list[bool | None] = field(default_factory=list)
    lengths: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, rows: Sequence[int] | NDArray[np.int64]) -> "PredictionTable":
        """Some of the rows."""
        pick = np.asarray(rows, dtype=np.int64)
        lists: dict[str, Any] = {name: [getattr(self, name)[row] for row in pick] for name in _LISTS}
        arrays: dict[str, Any] = {name: getattr(self, name)[pick] for name in _ARRAYS}
        return replace(self, **lists, **arrays)

    def judged(self) -> tuple["PredictionTable", str]:
        """The rows that the result is measured on, with a truth, and what they are called."""
        for stage, name in (("test", "test"), ("val", "validation")):
            rows = [row for row in range(len(self)) if self.stages[row] == stage and self._has_truth(row)]
            if rows:
                return self.chosen(rows), name
        return self.chosen([row for row in range(len(self)) if self._has_truth(row)]), ""

    def _has_truth(self, row: int) -> bool:
        return self.truth[row] != "" and (
            self.form != "value" or _number(self.truth[row]) == _number(self.truth[row])
        )

    def true_values(self) -> NDArray[np.float64]:
        """The truth of numbers."""
        return np.array([_number(text) for text in self.truth])

    def true_numbers(self) -> NDArray[np.int64]:
        """Number of the true class, -1 for one that is none."""
        places = {name: place for place, name in enumerate(self.classes)}
        return np.array([places.get(text, -1) for text in self.truth], dtype=np.int64)

    def true_sets(self) -> NDArray[np.bool_]:
        """`[rows, classes]`: which labels hold."""
        names = [{part.strip() for part in text.replace(";", "|").split("|")} for text in self.truth]
        return np.array([[one in own for one in self.classes] for own in names], dtype=bool)


_LISTS = ("ids", "stages", "truth", "labels", "in_domain", "lengths")
_ARRAYS = ("probability", "shares", "distance")


def read_predictions(outdir: Path, target: Mapping[str, object]) -> PredictionTable | None:
    """The table of a job's folder, None where there is none; `target` is that of metrics.json, as far as known."""
    path = outdir / FILE
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as opened:
        lines = csv.reader(opened)
        header = next(lines, [])
        columns = list(zip(*(row for row in lines if len(row) == len(header)), strict=True))
    cells = {name: list(columns[place]) if columns else [] for place, name in enumerate(header)}
    count = len(cells.get("id", []))
    blank = [""] * count
    classes = tuple(name.removeprefix("p_") for name in header if name.startswith("p_"))
    labels = cells.get("label", blank)
    shares = np.array([[_number(cell) for cell in cells[f"p_{name}"]] for name in classes]).T
    return PredictionTable(
        form=_form(header, classes, labels, target),
        level=str(target.get("level") or "sequence"),
        classes=classes or tuple(map(str, _classes(target))),
        ids=cells.get("id", []),
        stages=cells.get("stage", blank),
        truth=[_unquoted(cell) for cell in cells.get("truth", blank)],
        labels=labels,
        probability=np.array([_number(cell) for cell in cells.get("value", cells.get("probability", blank))]),
        shares=shares.reshape(count, len(classes)),
        distance=np.array([_number(cell) for cell in cells.get("distance", blank)]),
        in_domain=[
            {"true": True, "false": False}.get(cell.lower()) for cell in cells.get("in_domain", blank)
        ],
        lengths=cells.get("length", blank),
    )


def target_of(metrics: Mapping[str, object]) -> Mapping[str, object]:
    """The target that metrics.json names, or nothing."""
    return mapping(metrics, "target")


def _classes(target: Mapping[str, object]) -> list[object]:
    classes = target.get("classes")
    return classes if isinstance(classes, list) else []


def _form(
    header: Sequence[str], classes: Sequence[str], labels: Sequence[str], target: Mapping[str, object]
) -> Form:
    if "value" in header:
        return "value"
    if not classes:
        return "string"
    several = target.get("kind") == "multilabel" or any(label and label not in classes for label in labels)
    return "several" if several else "single"


def _unquoted(cell: str) -> str:
    """A label without the mark that `csv_cell` put before it: residues may begin with coil, `-`."""
    return cell[1:] if cell.startswith("'") and csv_cell(cell[1:]) == cell else cell


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
