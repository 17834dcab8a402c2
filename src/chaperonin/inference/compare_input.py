"""Which predicted structure is compared with which reference: files, folders, and what `fold` left."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from chaperonin.data.sources import Rejected
from chaperonin.errors import InputError, UsageError
from chaperonin.inference.fold_input import STRUCTURE_SUFFIXES
from chaperonin.inference.fold_table import SUMMARY, Row, read_results
from chaperonin.protein.fasta import clean_id
from chaperonin.protein.lines import display_name
from chaperonin.weights.manifest import sha256_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A predicted structure and its reference, numbered from 1, with an id of its own."""

    number: int
    id: str
    predicted: Path
    reference: Path
    chain: str | None = None
    """Of the reference, where the id names one."""
    notes: tuple[str, ...] = ()


class _Predicted(NamedTuple):
    id: str
    path: Path
    names: tuple[str, ...]
    """What its reference may be called, the likeliest first."""


def structure_pairs(source: Path, reference: Path) -> list[Pair | Rejected]:
    """Every predicted structure of a file or folder with its reference, or rejected because it has none.

    In a folder that `fold` wrote these are the structures of rank 1, by their targets' ids; in another one all PDB and
    mmCIF files (also `.gz`) by their names without suffix, where NAME.cif goes before NAME.pdb. A reference that is a
    file is everybody's. In a folder it is ID.cif or ID.pdb; for an id such as `1abc_A`, chain A of 1abc where there is
    no reference 1abc_A; for ColabFold's `ID_unrelaxed_rank_001_…`, that of ID. InputError: there is nothing to compare.
    """
    if not reference.exists():
        raise UsageError(
            "the reference is not there", where=f"--reference {display_name(reference)}", advice="Check the path."
        )  # fmt: skip
    predicted = list(_predicted(source))
    known = _by_stem(reference) if reference.is_dir() else None
    if known == {}:
        raise UsageError(
            "no structure in the folder of references",
            where=f"--reference {display_name(reference)}",
            advice=f"Put ID.cif or ID.pdb into it. {_SUFFIXES}",
        )
    return [
        _of_file(number, one, reference) if known is None else _in_folder(number, one, known, reference)
        for number, one in enumerate(predicted, start=1)
    ]


def pairs_digest(pairs: Iterable[Pair | Rejected]) -> str:
    """SHA-256 of the ids and of the bytes of all files."""
    digest = sha256()
    for pair in pairs:
        digest.update(f"{pair.id}\n".encode("utf-8", "surrogatepass"))
        if isinstance(pair, Pair):
            digest.update(f"{pair_digest(pair)}\n".encode())
    return digest.hexdigest()


def pair_digest(pair: Pair) -> str:
    """SHA-256 of the bytes of both files."""
    return sha256(f"{_content(pair.predicted)} {_content(pair.reference)} {pair.chain}".encode()).hexdigest()


def is_structure(path: Path) -> bool:
    """Whether the name of a file says that it is PDB or mmCIF."""
    return _suffix(path) in STRUCTURE_SUFFIXES


_SUFFIXES = f"Structures end in {', '.join(STRUCTURE_SUFFIXES)}; .gz may follow."
_RANKED = re.compile(r"(.+)_(?:un)?relaxed_rank_\d+_")
_CHAIN = re.compile(r"(.+)_([A-Za-z0-9]{1,4})")
_MOST_NAMED = 5


def _predicted(source: Path) -> Iterator[_Predicted]:
    if not source.exists():
        raise InputError("the input is not there", where=display_name(source), advice="Check the path.")
    if source.is_file():
        if not is_structure(source):
            raise InputError(
                "neither PDB nor mmCIF by its name", where=display_name(source), advice=_SUFFIXES
            )
        yield _of_stem(_stem(source), source)
        return
    rows = _folded(source)
    if rows:
        for row in rows:
            yield _Predicted(row.id, source / row.structure, (row.id, row.name))
        return
    found = _by_stem(source)
    if not found:
        raise InputError("no structure in the folder", where=display_name(source), advice=_SUFFIXES)
    for stem, path in found.items():
        yield _of_stem(stem, path)


def _of_stem(stem: str, path: Path) -> _Predicted:
    ranked = _RANKED.match(stem)
    return _Predicted(stem, path, (stem, ranked[1]) if ranked else (stem,))


def _folded(folder: Path) -> list[Row]:
    """Targets of a folder that `fold` wrote; empty for another folder."""
    if not (folder / SUMMARY).is_file():
        return []
    try:
        return read_results(folder)
    except (KeyError, ValueError, OSError):  # a table of another program
        return []


def _by_stem(folder: Path) -> dict[str, Path]:
    """Name without suffix → file, in the order of names; of several, mmCIF before PDB."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"the folder cannot be read: {error.strerror}", where=display_name(folder)
        ) from error
    structures = [path for path in paths if is_structure(path) and path.is_file()]
    if others := len(paths) - len(structures):
        log.info("%s: %d of %d entries are no structures and left out", folder, others, len(paths))
    found: dict[str, Path] = {}
    for path in sorted(structures, key=lambda path: not _suffix(path).endswith("cif")):
        found.setdefault(_stem(path), path)
    return dict(sorted(found.items()))


def _of_file(number: int, one: _Predicted, reference: Path) -> Pair:
    id, notes = clean_id(one.id)
    stem = _stem(reference)
    for name in one.names:
        named = _CHAIN.fullmatch(name)
        if named and named[1] == stem and name != stem:
            return Pair(number, id, one.path, reference, named[2], notes)
    return Pair(number, id, one.path, reference, notes=notes)


def _in_folder(number: int, one: _Predicted, known: Mapping[str, Path], folder: Path) -> Pair | Rejected:
    id, notes = clean_id(one.id)
    for name in one.names:
        if name in known:
            return Pair(number, id, one.path, known[name], notes=notes)
    for name in one.names:
        named = _CHAIN.fullmatch(name)
        if named and named[1] in known:
            return Pair(number, id, one.path, known[named[1]], named[2], notes)
    where = display_name(one.path)
    error = InputError(
        f"no reference for {one.names[-1]!r} in {display_name(folder)}",
        where=where,
        advice=f"Name it {one.names[-1]}.cif or .pdb. There are: {_some(list(known))}.",
    )
    return Rejected(number, id, where, error)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:  # then the pair will fail, and the others go on
        return str(error.strerror)


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem
