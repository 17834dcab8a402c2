"""Read scores.csv once, row by row, into what the figures need: bounded, however long the file is."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.report.sampling import Highest, Thinned
from chaperonin.report.wording import shortened
from chaperonin.shapes import Float

MOST_TARGETS = 12
MOST_RANKED = 20
MOST_POINTS = 3_000
_MOST_SCORES = 200_000
_MOST_SCORES_EACH = 20_000
_LAST_POSITION = 50_000  # a larger number in a mutant is not believed
_SCAN_HEADER = ["id", "mutant", "score"]
_PEEKED_ROWS = 1_000
_LONGEST_FIELD = 2**24
_MUTATION = re.compile(r"([A-Z])(\d{1,6})([A-Z])")


@dataclass(frozen=True)
class Variant:
    """What a table or a point says about one row."""

    name: str
    score: float
    measured: float | None


@dataclass(frozen=True)
class Cells:
    """The heat map of one protein."""

    scores: Float[np.ndarray, "positions 20"]
    """Mean score of each substitution, NaN where there is none; columns follow `STANDARD_RESIDUES`."""
    sequence: str
    """Wild-type residue of each position, `·` where it is not known."""
    first: int
    """Number of the first position, counted from 1."""


@dataclass
class Target:
    """One protein and its variants."""

    name: str
    variants: int = 0
    drawn: int = 0
    """Single substitutions that have a cell."""
    misfits: int = 0
    """Substitutions whose wild type contradicts an earlier row."""
    wild_types: dict[int, str] = field(default_factory=dict)
    sequence: str = ""
    """The whole wild-type sequence, when a row shows it."""
    highest: Highest[Variant] = field(default_factory=lambda: Highest(MOST_RANKED))
    lowest: Highest[Variant] = field(default_factory=lambda: Highest(MOST_RANKED))
    scores: Thinned[float] = field(default_factory=lambda: Thinned(_MOST_SCORES_EACH))
    measured: Thinned[Variant] = field(default_factory=lambda: Thinned(MOST_POINTS))
    _cells: dict[tuple[int, str], tuple[float, int]] = field(default_factory=dict)

    def add(self, variant: Variant, mutant: str, mutated_sequence: str) -> None:
        """Take notice of one scored row."""
        self.variants += 1
        self.scores.add(variant.score)
        self.highest.add(variant.score, variant)
        self.lowest.add(-variant.score, variant)
        if variant.measured is not None:
            self.measured.add(variant)
        match = _MUTATION.fullmatch(mutant)
        if match is None:
            return
        wild, position, residue = match[1], int(match[2]), match[3]
        if not 1 <= position <= _LAST_POSITION or residue not in STANDARD_RESIDUES:
            return
        if self.wild_types.setdefault(position, wild) != wild:
            self.misfits += 1
            return
        if not self.sequence and mutated_sequence[position - 1 : position] == residue:
            self.sequence = mutated_sequence[: position - 1] + wild + mutated_sequence[position:]
        total, number = self._cells.get((position, residue), (0.0, 0))
        self._cells[position, residue] = total + variant.score, number + 1
        self.drawn += 1

    def cells(self, most_positions: int) -> Cells:
        """From the first scored position to the last, at most `most_positions` of them."""
        if not self._cells:
            return Cells(np.zeros((0, 20), dtype=np.float32), "", 1)
        first = min(position for position, _ in self._cells)
        last = min(self.last_position, first + most_positions - 1)
        scores = np.full((last - first + 1, 20), np.nan, dtype=np.float32)
        for (position, residue), (total, number) in self._cells.items():
            if position <= last:
                scores[position - first, STANDARD_RESIDUES.index(residue)] = total / number
        sequence = "".join(self._wild_type(position) for position in range(first, last + 1))
        return Cells(scores, sequence, first)

    @property
    def last_position(self) -> int:
        """The last position with a score, 0 when there is none."""
        return max((position for position, _ in self._cells), default=0)

    def _wild_type(self, position: int) -> str:
        letter = self.wild_types.get(position) or self.sequence[position - 1 : position]
        return letter if "A" <= letter <= "Z" else "·"


@dataclass
class Scores:
    """The whole file: its first targets in full, the others counted."""

    targets: dict[str, Target] = field(default_factory=dict)
    variants: int = 0
    without_score: int = 0
    scores: Thinned[float] = field(default_factory=lambda: Thinned(_MOST_SCORES))
    variants_by_target: dict[str, int] = field(default_factory=dict)
    """Number of variants of every target, shown or not."""
    last_mutants: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    """Length of the sequence of each target, where the file shows it."""

    @property
    def target_count(self) -> int:
        """Shown and counted ones."""
        return len(self.variants_by_target)


def read_scores(path: Path) -> Scores:
    """Every row of the file; a row without a finite score is only counted."""
    result = Scores()
    with _long_fields(), path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if "score" not in header:
            return result
        where = {name: column for column, name in reversed(list(enumerate(header)))}
        where["score"] = len(header) - 1 - header[::-1].index("score")  # ours is the last one
        peeked = list(islice(rows, _PEEKED_ROWS))
        target_column = _target_column(where, peeked)
        for row in chain(peeked, rows):
            _add_row(result, row, where, target_column)
    if header == _SCAN_HEADER:  # position by position to the last residue
        matches = {name: _MUTATION.fullmatch(mutant) for name, mutant in result.last_mutants.items()}
        result.lengths = {name: int(match[2]) for name, match in matches.items() if match}
    return result


@contextmanager
def _long_fields() -> Iterator[None]:
    """Sequences may be longer than what the csv module takes for a mistake."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _target_column(where: dict[str, int], rows: Sequence[list[str]]) -> int | None:
    """The column that names the protein: `target`, or an `id` that several rows share."""
    for name in ("target", "DMS_id"):
        if name in where:
            return where[name]
    column = where.get("id")
    if column is None:
        return None
    names = [row[column] for row in rows if len(row) > column]
    return column if len(set(names)) < len(names) or len(names) == 1 else None


def _add_row(result: Scores, row: list[str], where: dict[str, int], target_column: int | None) -> None:
    def cell(name: str) -> str:
        column = where.get(name)
        return row[column].strip() if column is not None and column < len(row) else ""

    score = _finite(cell("score"))
    if score is None:
        result.without_score += 1
        return
    result.variants += 1
    result.scores.add(score)
    name = row[target_column].strip() if target_column is not None and target_column < len(row) else ""
    sequence = cell("mutated_sequence")
    if sequence:
        result.lengths.setdefault(name, len(sequence))
    result.variants_by_target[name] = result.variants_by_target.get(name, 0) + 1
    mutant = result.last_mutants[name] = cell("mutant")
    target = result.targets.get(name)
    if target is None:
        if len(result.targets) >= MOST_TARGETS:
            return
        target = result.targets[name] = Target(name)
    label = mutant or (cell("id") if target_column != where.get("id") else "") or shortened(sequence, 32)
    target.add(Variant(shortened(label, 60), score, _finite(cell("DMS_score"))), mutant, sequence)


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
