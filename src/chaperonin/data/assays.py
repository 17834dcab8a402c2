"""Assays: variants of one protein with a measured value each, divided into folds.

Read are ProteinGym's tables (`mutant`, `mutated_sequence`, `DMS_score`, `fold_random_5`) and those of AIDO.Protein
(`sequences`, `labels`, `fold_id`), CSV, TSV or Parquet.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.sources import TABLE_SUFFIXES
from chaperonin.data.splitting import Parts
from chaperonin.data.tables import Row, read_table
from chaperonin.errors import InputError
from chaperonin.protein.lines import display_name
from chaperonin.protein.sequence import clean
from chaperonin.protein.variant import Variant, parse_variant, variant_between

SEQUENCE_COLUMNS = ("mutated_sequence", "sequences", "sequence")
VALUE_COLUMNS = ("DMS_score", "labels", "label")
FOLD_COLUMNS = ("fold_random_5", "fold_id")
"""Columns that are looked for; the first that is there wins."""
MUTANT = "mutant"

LEAST_FOLDS = 3
LEAST_PER_FOLD = 4
"""Fewer variants in a fold say nothing about a rank correlation."""


@dataclass(frozen=True)
class FoldSettings:
    """How the variants of an assay are divided."""

    column: str = ""
    """Column with the number of each variant's fold; empty: fold_random_5 or fold_id, and without them a draw."""
    count: int = 5
    """Folds that are drawn."""
    seed: int = 0
    """Of the draw."""


@dataclass(frozen=True, eq=False)
class Assay:
    """The variants of one protein with what was measured of them, in the order of the file."""

    id: str
    sequences: list[str]
    mutants: list[str]
    """As written; empty where the table has no such column."""
    variants: list[Variant] | None
    """Substitutions of each; None for insertions and deletions, and where they are not known."""
    has_indels: bool
    """Whether residues were inserted or deleted, seen from the lengths."""
    values: NDArray[np.float64]
    folds: NDArray[np.int64]
    """Number of each variant's fold, from 0."""
    folded_by: str
    """The column of the folds, or `drawn with seed 0`."""
    notes: list[str]
    """What was left out, and other things to know."""

    @property
    def fold_count(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    def parts(self, fold: int) -> Parts:
        """A fold as the test part, the next one as validation, the others for training."""
        following = (fold + 1) % self.fold_count
        training = np.flatnonzero((self.folds != fold) & (self.folds != following))
        return Parts(training, np.flatnonzero(self.folds == following), np.flatnonzero(self.folds == fold))


def assay_files(source: Path) -> dict[str, Path]:
    """Id → table: a file, or all tables in a folder and its subfolders, hidden ones left out.

    The id is the file's name without suffix, with the folder's name in front where two files have the same.
    """
    if not source.exists():
        raise InputError("the input is not there", where=display_name(source), advice="Check the path.")
    files = [source]
    if source.is_dir():
        inside = sorted(path for path in source.rglob("*") if _is_table(path))
        files = [path for path in inside if not _is_hidden(path.relative_to(source))]
    elif not _is_table(source):
        files = []
    if not files:
        raise InputError(
            "there is no table of variants",
            where=display_name(source),
            advice=f"Tables end with {', '.join(TABLE_SUFFIXES)}; .gz may follow.",
        )
    names = Counter(assay_name(path) for path in files)
    return {
        assay_name(path) if names[assay_name(path)] == 1 else f"{path.parent.name}-{display_name(path)}": path
        for path in files
    }


def assay_name(path: Path) -> str:
    """Name of the file without its suffixes: ProteinGym's DMS_id."""
    return Path(display_name(path).removesuffix(".gz")).stem


def read_assay(path: Path, id: str, folds: FoldSettings, wild_type: str = "") -> Assay:
    """One assay. Rows without a sequence, a number or a fold are left out, and a note says how many.

    `wild_type`: the unchanged protein, where it is known: from it follow the substitutions where the table does not
    name them. InputError: a column is missing, or what is left is too little to learn from and to test.
    """
    table, where = read_table(path), display_name(path)
    sequence_column = _column(table.header, SEQUENCE_COLUMNS, "mutated sequences", where)
    value_column = _column(table.header, VALUE_COLUMNS, "measured values", where)
    fold_column = _fold_column(table.header, folds, where)
    sequences: list[str] = []
    kept: list[Mapping[str, str]] = []
    problems: list[str] = []
    for row in table.rows:
        try:
            sequences.append(_checked(row, sequence_column, value_column, fold_column))
        except InputError as error:
            problems.append(f"{where}:{row.line}: {error.what}")
        else:
            kept.append(row.columns)
    notes = [f"{len(problems):,} rows left out, the first {problems[0]}"] if problems else []
    if repeated := len(sequences) - len(set(sequences)):
        notes.append(f"{repeated:,} rows repeat a sequence")
    mutants = [columns.get(MUTANT, "").strip() for columns in kept]
    values = np.array([float(columns[value_column]) for columns in kept], np.float64)
    numbers, folded_by = _folded(kept, fold_column, folds)
    _require_enough(values, numbers, where)
    lengths = {len(sequence) for sequence in sequences}
    has_indels = len(lengths) > 1 or (bool(wild_type) and len(wild_type) not in lengths)
    variants = None if has_indels else _variants(sequences, mutants, wild_type)
    return Assay(id, sequences, mutants, variants, has_indels, values, numbers, folded_by, notes)


def _is_table(path: Path) -> bool:
    return path.is_file() and Path(path.name.removesuffix(".gz")).suffix.lower() in TABLE_SUFFIXES


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _column(header: Sequence[str], known: Sequence[str], what: str, where: str) -> str:
    for name in known:
        if name in header:
            return name
    raise InputError(f"has no column of {what}", where=where, advice=f"Name it {' or '.join(known)}.")


def _fold_column(header: Sequence[str], folds: FoldSettings, where: str) -> str:
    """The column of the folds; empty where they are to be drawn."""
    if folds.column and folds.column not in header:
        raise InputError(
            f"has no column {folds.column}",
            where=where,
            advice="Leave --fold-column out to have folds drawn.",
        )
    return folds.column or next((name for name in FOLD_COLUMNS if name in header), "")


def _checked(row: Row, sequence_column: str, value_column: str, fold_column: str) -> str:
    """The sequence of a row that can be used; InputError says why it cannot."""
    if row.error is not None:
        raise row.error
    cells = row.columns
    for column in (value_column, *([fold_column] if fold_column else [])):
        if not math.isfinite(_number(cells[column])):
            raise InputError(f"{column} {cells[column][:20]!r} is no number")
    return clean(cells[sequence_column]).sequence


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _folded(
    rows: Sequence[Mapping[str, str]], column: str, settings: FoldSettings
) -> tuple[NDArray[np.int64], str]:
    """Number of each row's fold, by the column or drawn (as equal in size as can be), and a word on which."""
    if column:
        numbers = np.unique([float(cells[column]) for cells in rows], return_inverse=True)[1]
        return numbers.astype(np.int64), column
    drawn = np.random.default_rng(settings.seed).permutation(np.arange(len(rows)) % settings.count)
    return drawn, f"drawn with seed {settings.seed}"


def _require_enough(values: NDArray[np.float64], folds: NDArray[np.int64], where: str) -> None:
    """InputError for an assay with too few variants, folds or different values."""
    counts = np.bincount(folds) if len(folds) else np.zeros(1, np.int64)
    if len(counts) < LEAST_FOLDS or counts.min() < LEAST_PER_FOLD:
        raise InputError(
            f"{len(values):,} variants with a value in {np.count_nonzero(counts)} folds are too few",
            where=where,
            advice=f"It takes {LEAST_FOLDS} folds or more, with {LEAST_PER_FOLD} variants or more in each.",
        )
    for fold in range(len(counts)):
        following = (fold + 1) % len(counts)
        if np.ptp(values[(folds != fold) & (folds != following)]) == 0:
            raise InputError("the values are all the same", where=where, advice="Give measured values.")


def _variants(sequences: Sequence[str], mutants: Sequence[str], wild_type: str) -> list[Variant] | None:
    """Substitutions of each variant, or None where a single one has none."""
    try:
        if all(mutants):
            return [parse_variant(text) for text in mutants]
        return [variant_between(wild_type, sequence) for sequence in sequences]
    except InputError:
        return None
