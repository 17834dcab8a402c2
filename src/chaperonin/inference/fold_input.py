"""What is to be folded: sequences, alignments and feature files of one input, and the templates that go with them."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from chaperonin.data.alignment_features import Prepared
from chaperonin.data.feature_file import read_features
from chaperonin.data.sources import (
    FASTA_SUFFIXES,
    TABLE_SUFFIXES,
    Record,
    Rejected,
    fingerprint,
    read_records,
)
from chaperonin.data.template_features import read_templates
from chaperonin.errors import InputError, UsageError
from chaperonin.inference.fold import TEMPLATES, prepare_target
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.models.alphafold.features import Templates
from chaperonin.protein.alignment import Alignment, join, read_a3m, read_stockholm, single_sequence
from chaperonin.protein.fasta import clean_id
from chaperonin.protein.lines import display_name
from chaperonin.weights.manifest import sha256_of

A3M_SUFFIXES, STOCKHOLM_SUFFIXES, FEATURE_SUFFIX = (".a3m",), (".sto", ".stk", ".stockholm"), ".npz"
log = logging.getLogger(__name__)
STRUCTURE_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif")


@dataclass(frozen=True)
class Target:
    """One protein to fold: its number in the input from 1, a unique id, and the files that describe it."""

    number: int
    id: str
    where: str
    sequence: str | None = None
    """From FASTA; else the query of the alignment is meant."""
    alignments: tuple[Path, ...] = ()
    """A3M and Stockholm files, joined in this order."""
    features: Path | None = None
    """A file of published features, which has all the rest."""
    own_templates: tuple[Path, ...] = ()
    """Structures that are for this target only."""
    templates: tuple[Path, ...] = ()
    """Structures that are for all targets."""
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is read from, but its FASTA file."""
        own = () if self.features is None else (self.features,)
        return (*self.alignments, *own, *self.own_templates, *self.templates)


class Reading(NamedTuple):
    """A target as it was read, and what was found on the way."""

    prepared: Prepared
    notes: tuple[str, ...]


def items(source: Path, settings: FoldSettings) -> list[Target | Rejected]:
    """Every target of a file or a folder, in order, numbered from 1; what is none is rejected with a reason.

    A FASTA file or table has one for each record. ID.a3m or ID.sto beside it is the alignment of the record ID; an
    alignment without a record is a target by itself, as is a file of features. InputError: there is no input.
    """
    found = list(_in_folder(source, settings) if source.is_dir() else _in_file(source, settings))
    if not found:
        raise InputError("there is nothing to fold in the folder", where=display_name(source))
    numbered = [replace(item, number=number) for number, item in enumerate(_with_unique_ids(found), start=1)]
    return _with_templates(numbered, settings)


def read_target(target: Target, settings: FoldSettings) -> Reading:
    """Read and check all files of a target; InputError says which one cannot be used and why."""
    residue_index = None
    templates: Templates | None = None
    alignment: Alignment
    if target.features is not None:
        alignment, residue_index, templates = read_features(target.features, TEMPLATES)
    elif target.alignments:
        alignment = join([_read_alignment(path, target.sequence) for path in target.alignments])
    else:
        assert target.sequence is not None
        alignment = single_sequence(target.sequence, target.id)
    notes: tuple[str, ...] = ()
    if not settings.use_templates:
        templates = None
    elif target.own_templates or target.templates:
        templates, notes = _read_templates(target, alignment.query)
    try:
        return Reading(prepare_target(alignment, templates, residue_index), notes)
    except InputError as error:
        raise InputError(error.what, where=error.where or target.where, advice=error.advice) from error


def input_digest(source: Path, targets: Iterable[Target | Rejected]) -> str:
    """SHA-256 of the input, and of all files of the targets, wherever they lie."""
    digest = sha256(fingerprint(source).encode())
    for path in sorted({path for target in targets if isinstance(target, Target) for path in target.files}):
        digest.update(f"{path.name}\n{_content(path)}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:  # then the target will fail, and the others go on
        return str(error.strerror)


def _in_file(path: Path, settings: FoldSettings) -> Iterator[Target | Rejected]:
    if not path.exists():
        raise InputError("the input is not there", where=display_name(path), advice="Check the path.")
    if _is_alignment(path) or _suffix(path) == FEATURE_SUFFIX:
        yield _of_file(path)
        return
    beside = _by_stem(_listing(path.parent))
    for record in read_records(path, unknown=settings.unknown):
        yield _of_record(record, beside)


def _in_folder(folder: Path, settings: FoldSettings) -> Iterator[Target | Rejected]:
    """In the order of file names; an alignment that belongs to a record of a FASTA file comes with that one."""
    given = {Path(path).expanduser().resolve() for path in settings.templates}
    paths = [path for path in _listing(folder) if path.resolve() not in given]
    beside = _by_stem(paths)
    records = {path: list(_records(path, settings)) for path in paths if _has_records(path)}
    taken = {record.id for found in records.values() for record in found}
    for path in paths:
        if path in records:
            yield from (_of_record(record, beside) for record in records[path])
        elif _is_alignment(path):
            stem = _stem(path)
            if stem not in taken:
                taken.add(stem)
                yield replace(_of_file(path), alignments=beside[stem])
        elif path.is_file() and _suffix(path) == FEATURE_SUFFIX:
            yield _of_file(path)
        else:
            yield _rejected(path, _not_a_target(path))


def _records(path: Path, settings: FoldSettings) -> Iterator[Record | Rejected]:
    try:
        yield from read_records(path, unknown=settings.unknown)
    except InputError as error:
        yield _rejected(path, error)


def _of_record(record: Record | Rejected, beside: Mapping[str, tuple[Path, ...]]) -> Target | Rejected:
    if isinstance(record, Rejected):
        return record
    return Target(
        record.number, record.id, record.where, record.sequence, beside.get(record.id, ()), notes=record.notes
    )


def _of_file(path: Path) -> Target:
    id, notes = clean_id(_stem(path))
    target = Target(0, id, display_name(path), notes=notes)
    if _is_alignment(path):
        return replace(target, alignments=(path,))
    return replace(target, features=path)


def _rejected(path: Path, error: InputError) -> Rejected:
    where = display_name(path)
    return Rejected(0, where, error.where or where, error)


def _not_a_target(path: Path) -> InputError:
    where = display_name(path)
    if path.is_dir():
        return InputError("a folder in the input folder", where=where, advice="Fold each folder by itself.")
    if _suffix(path) in STRUCTURE_SUFFIXES:
        return InputError(
            "a structure is nothing to fold", where=where, advice="Is it a template? Give its folder with --templates."
        )  # fmt: skip
    return InputError(
        f"the suffix {_suffix(path)!r} says nothing about the format",
        where=where,
        advice="Name it .fasta (sequences), .a3m or .sto (an alignment; .gz may follow) or .npz (features).",
    )


class _Ids:
    """Gives every target an id of its own: the second P1 is P1_2, unless that is another's."""

    def __init__(self, real: Iterable[str]) -> None:
        self._real = set(real)
        self._given: set[str] = set()

    def unique(self, id: str) -> str:
        new, count = id, 1
        while new in self._given or (count > 1 and new in self._real):
            count += 1
            new = f"{id}_{count}"
        self._given.add(new)
        return new


def _with_unique_ids(found: Sequence[Target | Rejected]) -> Iterator[Target | Rejected]:
    ids = _Ids(item.id for item in found)
    for item in found:
        id = ids.unique(item.id)
        if id != item.id and isinstance(item, Target):
            item = replace(item, notes=(*item.notes, f"another target has the id {item.id}"))
        yield replace(item, id=id)


@dataclass
class _Given:
    """Structures that were given as templates."""

    for_all: list[Path] = field(default_factory=list)
    by_id: dict[str, list[Path]] = field(default_factory=dict)


def _with_templates(found: list[Target | Rejected], settings: FoldSettings) -> list[Target | Rejected]:
    if not settings.templates or not settings.use_templates:
        return found
    given = _given_templates(settings.templates, {item.id for item in found})
    return [
        replace(item, own_templates=tuple(given.by_id.get(item.id, ())), templates=tuple(given.for_all))
        if isinstance(item, Target)
        else item
        for item in found
    ]


def _given_templates(places: Sequence[str], ids: set[str]) -> _Given:
    given = _Given()
    for place in places:
        path = Path(place).expanduser()
        if path.is_file():
            given.for_all.append(path)
            continue
        if not path.is_dir():
            raise UsageError("no such file or folder", where=f"templates: {place}", advice="Check the path.")
        files = [file for file in _listing(path) if _suffix(file) in STRUCTURE_SUFFIXES]
        owners = {file: _owner(_stem(file), ids) for file in files}
        for file, owner in owners.items():
            if owner is not None:
                given.by_id.setdefault(owner, []).append(file)
        _report_strangers([file for file, owner in owners.items() if owner is None], len(files), place)
    return given


def _report_strangers(strangers: Sequence[Path], files: int, place: str) -> None:
    if len(strangers) == files:
        raise UsageError(
            f"none of the {files} structures belongs to a target",
            where=f"templates: {place}",
            advice="Name them ID.cif, or ID.ANYTHING.cif where a target has several; "
            "a template for all targets is given as a file.",
        )
    if strangers:
        names = ", ".join(display_name(file) for file in strangers[:5])
        log.warning("%s: %d of %d structures belong to no target: %s", place, len(strangers), files, names)


def _owner(stem: str, ids: set[str]) -> str | None:
    """The target that a template's name begins with: `P1.2abc` belongs to P1, unless there is a target P1.2abc."""
    while stem not in ids:
        stem, dot, _ = stem.rpartition(".")
        if not dot:
            return None
    return stem


def _read_templates(target: Target, query: str) -> tuple[Templates | None, tuple[str, ...]]:
    """Templates, and a note for each that is not used; InputError where a target's own are all of no use."""
    own, own_failures = read_templates(query, target.own_templates, TEMPLATES)
    if target.own_templates and own is None:
        raise own_failures[0]
    templates, failures = own, own_failures
    if target.templates:
        templates, failures = read_templates(query, [*target.own_templates, *target.templates], TEMPLATES)
    return templates, tuple(f"template not used: {failure}" for failure in failures)


def _read_alignment(path: Path, query: str | None) -> Alignment:
    read = read_a3m if _suffix(path) in A3M_SUFFIXES else read_stockholm
    try:
        return read(path, query)
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror or error}", where=display_name(path)
        ) from error


def _listing(folder: Path) -> list[Path]:
    """What is in a folder, but hidden files."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"the folder cannot be read: {error.strerror}", where=display_name(folder)
        ) from error


def _by_stem(paths: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Id → its alignments."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in paths:
        if _is_alignment(path):
            found[_stem(path)] = (*found.get(_stem(path), ()), path)
    return found


def _is_alignment(path: Path) -> bool:
    return _suffix(path) in (*A3M_SUFFIXES, *STOCKHOLM_SUFFIXES) and path.is_file()


def _has_records(path: Path) -> bool:
    return _suffix(path) in (*FASTA_SUFFIXES, *TABLE_SUFFIXES) and path.is_file()


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem
