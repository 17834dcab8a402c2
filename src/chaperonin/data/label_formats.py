"""Where a label, its stage and its group stand in a record: tables, biotrainer's FASTA headers, DeepLoc 2."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from chaperonin.data.sources import Record, find_column
from chaperonin.errors import InputError
from chaperonin.protein.fasta import read_fasta
from chaperonin.protein.lines import display_name

LABEL_COLUMNS = ("label", "labels", "target", "targets", "class", "value", "localization", "DMS_score")
STAGE_COLUMNS = ("stage", "set", "split")
STAGES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people write for a stage, in lower case, and its name here."""
DEEPLOC_LOCATIONS = (
    "Cytoplasm",
    "Nucleus",
    "Extracellular",
    "Cell membrane",
    "Mitochondrion",
    "Plastid",
    "Endoplasmic reticulum",
    "Lysosome/Vacuole",
    "Golgi apparatus",
    "Peroxisome",
)
DEEPLOC_MEMBRANE, DEEPLOC_FOLDS, DEEPLOC_ALL = "Membrane", "Partition", "locations"
UNKNOWN_RESIDUE, UNKNOWN_VALUE = ".", "nan"
"""Label of a residue that the mask leaves out."""


class Fields(NamedTuple):
    """What a record says besides its sequence; stage "train", "val", "test" or "" (not said)."""

    label: str
    stage: str
    group: str


class Columns(NamedTuple):
    """The names asked for; `mask` marks residues whose label counts by 1, the others by 0."""

    label: str
    stage: str
    group: str
    mask: str


class TableLayout:
    """A table with one column for each: label, stage (perhaps with a second one for validation), group."""

    def __init__(self, header: Sequence[str], wanted: Columns, where: str) -> None:
        self._label = _required(header, wanted.label, LABEL_COLUMNS, where)
        is_usual_stage = wanted.stage in ("", STAGE_COLUMNS[0])
        self._stage = (
            find_column(header, wanted.stage, STAGE_COLUMNS)
            if is_usual_stage
            else _required(header, wanted.stage, (), where)
        )
        pair = f"{self._stage}_val"
        self._validation = pair if pair in header else find_column(header, "validation", ("validation",))
        self._group = _required(header, wanted.group, (), where) if wanted.group else None
        self._mask = wanted.mask if wanted.mask in header else None

    def fields(self, record: Record) -> Fields:
        """Label, stage and group of a row; InputError for a stage that is none."""
        cells = record.columns
        label = self.label(cells)
        if self._mask is not None:
            label = masked(label, cells[self._mask].strip())
        stage = ""
        if self._stage is not None:
            flag = cells[self._validation] if self._validation is not None else ""
            stage = read_stage(cells[self._stage], flag)
        return Fields(label, stage, cells[self._group].strip() if self._group is not None else "")

    def label(self, cells: Mapping[str, str]) -> str:
        """Text of the label's cell."""
        return cells[self._label].strip()


class DeepLocLayout(TableLayout):
    """DeepLoc 2's training table: `Membrane` as M or S, ten locations as 1 or 0, `locations` all that hold.

    Its `Partition` (0 to 4) is the group unless another one is named.
    """

    def __init__(self, header: Sequence[str], wanted: Columns, where: str) -> None:
        self._takes_all = wanted.label == DEEPLOC_ALL
        label = DEEPLOC_MEMBRANE if wanted.label in (LABEL_COLUMNS[0], DEEPLOC_ALL) else wanted.label
        super().__init__(header, wanted._replace(label=label, group=wanted.group or DEEPLOC_FOLDS), where)
        missing = [name for name in DEEPLOC_LOCATIONS if name not in header]
        if missing and self._takes_all:
            raise InputError(f"no column {missing[0]!r}, which DeepLoc 2's table has", where=where)

    def label(self, cells: Mapping[str, str]) -> str:
        """The class in words, from cells that hold 1.0 or 0.0."""
        if self._takes_all:
            return "|".join(name for name in DEEPLOC_LOCATIONS if _is_set(cells[name]))
        if not cells[self._label].strip():
            return ""
        if self._label == DEEPLOC_MEMBRANE:
            return "M" if _is_set(cells[self._label]) else "S"
        if self._label in DEEPLOC_LOCATIONS:
            return "1" if _is_set(cells[self._label]) else "0"
        return super().label(cells)


class FastaLayout:
    """biotrainer's headers, `>id SET=train TARGET=Glob VALIDATION=True MASK=0111`, in any order and case.

    Labels for each residue may stand in a second FASTA file under the same ids, whose headers then hold the
    rest. The group is the header's key of that name.
    """

    def __init__(self, wanted: Columns, labels: str) -> None:
        usual = (LABEL_COLUMNS[0], "")
        self._label = "TARGET" if wanted.label in usual else wanted.label.upper()
        self._stage = "SET" if wanted.stage in (STAGE_COLUMNS[0], "") else wanted.stage.upper()
        self._group = wanted.group.upper()
        self._file = display_name(Path(labels)) if labels else ""
        self._texts = _second_fasta(Path(labels)) if labels else {}

    def fields(self, record: Record) -> Fields:
        """Label, stage and group of an entry; InputError where the header says none, or a wrong stage."""
        values = header_values(record.columns["description"])
        if self._file:
            if record.id not in self._texts:
                raise InputError(
                    f"no label for it in {self._file}", advice="Give it there under the same id."
                )
            text, description = self._texts[record.id]
            values |= header_values(description)
            values[self._label] = text
        if self._label not in values:
            raise InputError(
                f"the header has no {self._label}=",
                advice="Write >id SET=train TARGET=label, or name the FASTA file of labels as data.labels.",
            )
        label = masked(values[self._label], values.get("MASK", ""))
        stage = read_stage(values.get(self._stage, ""), values.get("VALIDATION", ""))
        return Fields(label, stage, values.get(self._group, ""))


def layout_of(record: Record, wanted: Columns, form: str, labels: str) -> TableLayout | FastaLayout:
    """How to read the records that look like this one. InputError: the format is another, or a column lacks."""
    header = tuple(record.columns)
    is_fasta = header == ("description",)
    where = record.where.rpartition(":")[0]
    if is_fasta != (form == "biotrainer") and form != "auto":
        found = "FASTA" if is_fasta else "a table"
        raise InputError(f"the input is {found}, which data.format={form} does not read", where=where)
    if is_fasta:
        return FastaLayout(wanted, labels)
    is_deeploc = {DEEPLOC_MEMBRANE, DEEPLOC_FOLDS, *DEEPLOC_LOCATIONS} <= set(header)
    if form == "deeploc2" or (form == "auto" and is_deeploc):
        return DeepLocLayout(header, wanted, where)
    return TableLayout(header, wanted, where)


def header_values(description: str) -> dict[str, str]:
    """`KEY=value` pairs of a header, keys in upper case; a value may hold blanks."""
    return {match[1].upper(): match[2].strip() for match in _PAIR.finditer(description)}


def read_stage(text: str, validation: str = "") -> str:
    """The stage by its name here, "" where none is given; `validation` is biotrainer's and FLIP's second mark."""
    stage = STAGES.get(text.strip().lower(), "")
    if text.strip() and not stage:
        raise InputError(
            f"the stage {text.strip()!r} is none of train, val, test",
            advice="If the column holds folds, name it as data.group_column.",
        )
    if not _is_set(validation):
        return stage
    if stage == "test":
        raise InputError("the record is marked for test and for validation", advice="Keep one of the marks.")
    return "val"


def file_stage(path: Path) -> str:
    """The last word of a file's name, if it is a stage, else "".

    `validation.csv`, `membrane_train.csv.gz`, `test-00000-of-00001.parquet` as the hub has it.
    """
    name = _PIECE.sub("", path.name.lower().removesuffix(".gz").rpartition(".")[0])
    return STAGES.get(_WORD_END.split(name)[-1], "")


def masked(label: str, mask: str) -> str:
    """Labels of residues, those under a 0 of the mask made unknown."""
    if not mask:
        return label
    if set(mask) - {"0", "1"}:
        raise InputError(f"the mask {mask[:20]!r} holds more than 0 and 1")
    values = re.split(r"[;\s]+", label) if re.search(r"[;\s]", label) else list(label)
    if len(values) != len(mask):
        raise InputError(f"the mask has {len(mask):,} places, the label {len(values):,}")
    if len(values) == len(label):
        return "".join(v if m == "1" else UNKNOWN_RESIDUE for v, m in zip(values, mask, strict=True))
    return ";".join(v if m == "1" else UNKNOWN_VALUE for v, m in zip(values, mask, strict=True))


def counted_from_one(label: str) -> str:
    """Pairs of residues that are counted from 0, counted from 1, without those of a residue and itself.

    What is no pair stays as it is, for the task to refuse.
    """
    pairs = []
    for part in label.split(";"):
        found = _ZERO_PAIR.fullmatch(part.strip())
        if found is None:
            pairs.append(part)
        elif found[1] != found[2]:
            pairs.append(f"{int(found[1]) + 1}-{int(found[2]) + 1}")
    return ";".join(pairs)


_ZERO_PAIR = re.compile(r"(\d+)-(\d+)")
_PIECE = re.compile(r"-\d+-of-\d+.*")
_WORD_END = re.compile(r"[^a-z]")
_PAIR = re.compile(r"(?:^|(?<=\s))(\w+)=(.*?)(?=\s+\w+=|\s*$)")


def _required(header: Sequence[str], wanted: str, usual: tuple[str, ...], where: str) -> str:
    found = find_column(header, wanted, usual or (wanted,))
    if found is None:
        raise InputError(
            f"no column {wanted!r}; the header has {', '.join(map(repr, header[:20]))}",
            where=where,
            advice="Say which column it is: data.label_column, data.stage_column, data.group_column.",
        )
    return found


def _is_set(cell: str) -> bool:
    return cell.strip().lower() in ("1", "1.0", "true", "yes")


def _second_fasta(path: Path) -> dict[str, tuple[str, str]]:
    """Text and description under each id of a FASTA file that holds labels, not sequences."""
    texts: dict[str, tuple[str, str]] = {}
    for entry in read_fasta(path):
        if entry.error is not None:
            raise InputError(entry.error.what, where=f"{display_name(path)}:{entry.line}")
        if entry.id in texts:
            raise InputError(f"two labels for {entry.id}", where=f"{display_name(path)}:{entry.line}")
        texts[entry.id] = (entry.sequence, entry.description)
    return texts
