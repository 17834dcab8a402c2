"""Labelled proteins for training: the records of a file with their label, stage and group."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from chaperonin.data.label_formats import (
    Columns,
    FastaLayout,
    Fields,
    TableLayout,
    counted_from_one,
    file_stage,
    layout_of,
)
from chaperonin.data.sources import Record, Rejected, read_records
from chaperonin.errors import InputError, UsageError

MISSING_LABELS = ("", "na", "n/a", "nan", "<na>", "null")
"""Cells that say no label, in lower case."""


@dataclass(frozen=True, slots=True)
class Example:
    """One protein to learn from or to be judged by. The label is the text of the cell."""

    number: int
    """Of the record in the input, from 1."""
    id: str
    sequence: str
    label: str
    stage: str
    """`train`, `val`, `test`, or empty where the input says none."""
    where: str
    group: str = ""
    """What `group_column` says: a fold or a family that must stay together."""


@dataclass(frozen=True)
class Dataset:
    """What could be used, what could not and why, and what a reader of the result should know."""

    examples: list[Example]
    rejected: list[Rejected]
    notes: list[str] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """Digest of ids, sequences, labels, stages and groups, in their order (as hex digits)."""
        digest = hashlib.sha256()
        for one in self.examples:
            digest.update(f"{one.id}\t{one.sequence}\t{one.label}\t{one.stage}\t{one.group}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class LabelSettings:
    """Where the examples are and which of them to use."""

    input: str = ""
    """CSV, TSV (also `.gz`), Parquet or FASTA with biotrainer's headers; or a folder of one kind. Without a column of
    stages, the names of the files in a folder may end in theirs (`train.csv`, `membrane_validation.csv`)."""
    sequence_column: str = "sequence"
    id_column: str = "id"
    label_column: str = "label"
    """Also `TARGET` of a FASTA header; in DeepLoc 2's table `Membrane`, a location, or `locations` for all."""
    stage_column: str = "stage"
    """`train`, `val` or `test`. Beside a column `NAME`, `NAME_val` or `validation` marks validation."""
    group_column: str = ""
    """Folds or families, for splits that keep each whole."""
    mask_column: str = "mask"
    """Where there is such a column: 0 for a residue whose label does not count."""
    labels: str = ""
    """A second FASTA file with the labels of residues, under the same ids."""
    skip_labels: tuple[str, ...] = ()
    """Labels whose records are left out: counted in a note, not rejected."""
    format: Literal["auto", "table", "biotrainer", "deeploc2"] = "auto"
    shortest: int = 1
    longest: int = 0
    """In residues; 0 is no limit. The membrane recipe on DeepLoc 2 uses 100 and 512."""
    unknown: str | None = None
    """"X" reads the letter J as X."""
    linker: str = ""
    """Residues that take the place of `|` between chains (GGGGG, say), for models that read one chain; without them
    such a sequence is refused."""
    first_residue: Literal[0, 1] = 1
    """What labels of pairs call the first residue. Lists that count from 0 are contact maps: a pair of a residue with
    itself is left out."""


def read_labelled(settings: LabelSettings) -> Dataset:
    """Every record of the input as an example, as a rejected one with its reason, or counted as skipped.

    The default columns stand for the usual names too (`target`, `set`, `split`, …). Where some records have a
    stage, those without one are rejected. InputError: no such input or column, or nothing in it can be used.
    """
    if not settings.input:
        raise UsageError("no input of labelled sequences", advice="Set data.input to a CSV or FASTA file.")
    reader = _Reader(settings)
    records = read_records(
        Path(settings.input),
        settings.unknown,
        settings.sequence_column,
        settings.id_column,
        linker=settings.linker,
    )
    for item in records:
        reader.take(item)
    return reader.dataset()


class _Reader:
    """Sorts records into examples, rejected and skipped ones, and collects what to note."""

    def __init__(self, settings: LabelSettings) -> None:
        self._settings = settings
        self._columns = Columns(
            settings.label_column, settings.stage_column, settings.group_column, settings.mask_column
        )
        self._in_folder = Path(settings.input).is_dir()
        self._layouts: dict[tuple[str, ...], TableLayout | FastaLayout] = {}
        self._examples: list[Example] = []
        self._rejected: list[Rejected] = []
        self._skipped: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()

    def take(self, item: Record | Rejected) -> None:
        if isinstance(item, Rejected):
            self._rejected.append(item)
            return
        layout = self._layout(item)
        try:
            fields = layout.fields(item)
            if fields.label in self._settings.skip_labels:
                self._skipped[fields.label] += 1
                return
            _require_label(fields.label)
            self._require_length(len(item.sequence))
        except InputError as error:
            self._reject(item, error)
            return
        self._changed.update({note.partition(":")[0] for note in item.notes})
        if self._settings.first_residue == 0:
            fields = fields._replace(label=counted_from_one(fields.label))
        self._examples.append(_example(item, fields))

    def dataset(self) -> Dataset:
        """What was taken; InputError where nothing can be used."""
        examples = self._staged_by_files() if self._in_folder else self._examples
        if any(one.stage for one in examples):
            for one in (one for one in examples if not one.stage):
                self._reject(one, InputError("no stage, and other records have one", advice="Fill it in."))
            examples = [one for one in examples if one.stage]
        self._rejected.sort(key=lambda one: one.number)
        if not examples:
            reason = f": {self._rejected[0].error.what}" if self._rejected else ""
            raise InputError(
                f"none of {len(self._rejected) + self._skipped.total():,} records can be used{reason}",
                where=self._settings.input,
                advice=self._rejected[0].error.advice if self._rejected else "Shorten data.skip_labels.",
            )
        return Dataset(examples, self._rejected, self._notes(examples))

    def _staged_by_files(self) -> list[Example]:
        """Stages by the names of the files: where no record has its own, and each file says one, some of them train."""
        if any(one.stage for one in self._examples):
            return self._examples
        files = [Path(one.where.rpartition(":")[0]) for one in self._examples]
        stages = {file: file_stage(file) for file in set(files)}
        if "train" not in stages.values() or not all(stages.values()):
            return self._examples
        return [replace(one, stage=stages[file]) for one, file in zip(self._examples, files, strict=True)]

    def _layout(self, record: Record) -> TableLayout | FastaLayout:
        header = tuple(record.columns)
        if header not in self._layouts:
            form, labels = self._settings.format, self._settings.labels
            self._layouts[header] = layout_of(record, self._columns, form, labels)
        return self._layouts[header]

    def _require_length(self, residues: int) -> None:
        shortest, longest = self._settings.shortest, self._settings.longest
        if residues < shortest:
            raise InputError(
                f"a sequence of {residues:,} residues; the shortest to use is {shortest:,} (data.shortest)"
            )
        if longest and residues > longest:
            raise InputError(
                f"a sequence of {residues:,} residues; the longest to use is {longest:,} (data.longest)"
            )

    def _reject(self, item: Record | Example, error: InputError) -> None:
        located = InputError(error.what, where=item.where, advice=error.advice)
        self._rejected.append(Rejected(item.number, item.id, item.where, located))

    def _notes(self, examples: Sequence[Example]) -> list[str]:
        notes = [
            f"{count:,} records with the label {label!r} left out (data.skip_labels)"
            for label, count in self._skipped.items()
        ]
        notes += [f"{what}: {count:,} records" for what, count in self._changed.items()]
        return notes + _repeats(examples)


def _example(record: Record, fields: Fields) -> Example:
    return Example(
        record.number, record.id, record.sequence, fields.label, fields.stage, record.where, fields.group
    )


def _require_label(label: str) -> None:
    if label.lower() in MISSING_LABELS:
        raise InputError(
            f"the label is missing ({label!r})" if label else "the label is missing",
            advice="Fill it in, or leave such records out with data.skip_labels.",
        )


def _repeats(examples: Iterable[Example]) -> list[str]:
    """Notes about sequences that come more than once, above all with different labels."""
    found: dict[str, list[Example]] = {}
    for one in examples:
        found.setdefault(one.sequence, []).append(one)
    repeated = [same for same in found.values() if len(same) > 1]
    conflicts = [same for same in repeated if len({one.label for one in same}) > 1]
    notes = []
    if repeated:
        count = sum(len(same) - 1 for same in repeated)
        notes.append(f"{count:,} records repeat the sequence of another one")
    if conflicts:
        first = conflicts[0]
        other = next(one for one in first if one.label != first[0].label)
        notes.append(
            f"{len(conflicts):,} sequences have different labels, which no model can tell apart; the first: "
            f"{first[0].id} ({_shown(first[0])}) and {other.id} ({_shown(other)})"
        )
    return notes


def _shown(example: Example) -> str:
    return example.label if len(example.label) <= 20 else example.label[:19] + "…"
