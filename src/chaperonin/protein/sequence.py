"""A protein sequence as people write it, and the sequence a model may read."""

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from chaperonin.errors import InputError, UsageError
from chaperonin.protein.alphabet import STANDARD_RESIDUES

UNUSUAL_RESIDUES = "XBZUO"
"""Further letters that models know: unknown, Asx (D or N), Glx (E or Q), selenocysteine, pyrrolysine."""


class CleanSequence(NamedTuple):
    """A sequence of the twenty-five letters a model knows, and what was changed or found on the way."""

    sequence: str
    notes: tuple[str, ...]


def clean(text: str, unknown: str | None = None) -> CleanSequence:
    """Make a sequence out of plain text, or raise InputError saying what stands at which residue.

    Lower case is raised, one trailing `*` (a stop) is dropped, spaces and digits (GenBank style) are dropped;
    each of these leaves a note. Gaps, inner stops, special tokens such as `<mask>` and characters that are no
    letters are refused. `J` (leucine or isoleucine) is refused too, unless `unknown` is "X": then it is read
    as X.
    Positions count residues from 1.
    """
    if unknown not in (None, "X"):
        raise UsageError(
            f"unknown residues cannot become {unknown!r}", advice="Use X, or nothing to refuse them."
        )
    if text and text.isascii() and not text.translate(_DROP_STANDARD):
        return CleanSequence(text, ())
    return _clean_slowly(text, unknown)


def file_name(id: str) -> str:
    """Name of a file for an id: the id itself where that is safe, else a slug and a short hash of the id.

    Two ids never share a name, not even where the file system ignores case; therefore an id with lower-case
    letters gets a hash. `file_names` knows all ids and is kinder.
    """
    return id if _is_safe(id) and id == id.upper() else _slug_with_hash(id)


def file_names(ids: Iterable[str]) -> dict[str, str]:
    """Name of a file for each id; a safe id keeps its own unless another one differs from it only by case."""
    distinct = dict.fromkeys(ids)
    folded: dict[str, int] = {}
    for id in distinct:
        folded[id.lower()] = folded.get(id.lower(), 0) + 1
    return {id: id if _is_safe(id) and folded[id.lower()] == 1 else _slug_with_hash(id) for id in distinct}


_DROP_STANDARD = str.maketrans("", "", STANDARD_RESIDUES)
_DROP_KNOWN = str.maketrans("", "", STANDARD_RESIDUES + UNUSUAL_RESIDUES)
_BLANK = re.compile(r"[\s0-9]+", re.ASCII)
_SPECIAL_TOKEN = re.compile(r"<[^<>\s]{0,20}>?")


def _clean_slowly(text: str, unknown: str | None) -> CleanSequence:
    notes: list[str] = []
    if special := _SPECIAL_TOKEN.search(text):
        position = len(_BLANK.sub("", text[: special.start()])) + 1
        raise InputError(
            f"special token {special.group()!r} at residue {position:,}",
            advice="Sequences are plain letters: write X for a residue that is not known.",
        )
    sequence = _BLANK.sub("", text)
    if dropped := len(text) - len(sequence):
        notes.append(f"spaces and digits removed: {dropped:,}")
    if not sequence.isascii():
        _refuse_character(sequence, re.compile(r"[^\x00-\x7f]"))
    upper = sequence.upper()
    if upper != sequence:
        notes.append("lower case made upper case")
    if upper.endswith("*"):
        upper = upper[:-1]
        notes.append("trailing * removed")
    if not upper:
        raise InputError(
            "the sequence is empty", advice="Give at least one residue, or leave the record out."
        )
    if "J" in upper and unknown is not None:
        notes.append(f"J replaced by X: {upper.count('J'):,}")
        upper = upper.replace("J", unknown)
    if rest := upper.translate(_DROP_KNOWN):
        _refuse_character(upper, re.compile(re.escape(rest[0])))
    counts = {letter: count for letter in UNUSUAL_RESIDUES if (count := upper.count(letter))}
    if counts:
        notes.append(
            "unusual residues kept: " + ", ".join(f"{letter} {count:,}" for letter, count in counts.items())
        )
    return CleanSequence(upper, tuple(notes))


def _refuse_character(sequence: str, pattern: re.Pattern[str]) -> None:
    """Raise the InputError for the first character that the pattern finds."""
    found = pattern.search(sequence)
    assert found is not None
    character, position = found.group(), found.start() + 1
    if character == "*":
        what = f"a stop (*) inside the sequence, at residue {position:,} of {len(sequence):,}"
        advice = "Only one * at the end is allowed: split the sequence there, or remove it."
    elif character in "-.":
        what = f"a gap ({character}) at residue {position:,}"
        advice = "Remove the gaps: aligned sequences are not plain sequences."
    elif character == "J":
        what = f"the letter J (leucine or isoleucine) at residue {position:,}, which no model here knows"
        advice = "Replace it, or read it as X with --set unknown=X."
    elif character.isascii():
        what = f"the character {character!r} at residue {position:,} is no residue"
        advice = "Use the one-letter codes of amino acids."
    else:
        what = f"the character {character!r} (U+{ord(character):04X}) at residue {position:,} is not ASCII"
        advice = "Use the one-letter codes of amino acids."
    raise InputError(what, advice=advice)


_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,99}")
_HASHED_NAME = re.compile(r".*-[0-9a-f]{12}", re.IGNORECASE)
_DEVICE_NAME = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_SLUG_LENGTH = 80


def _is_safe(id: str) -> bool:
    """Whether an id may be a file name as it is: portable, and not of the form that hashed names have."""
    return (
        _SAFE_NAME.fullmatch(id) is not None
        and not id.endswith(".")
        and _HASHED_NAME.fullmatch(id) is None
        and _DEVICE_NAME.fullmatch(id) is None
    )


def _slug_with_hash(id: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9_.+=-]+", "_", id)[:_SLUG_LENGTH].strip("._-") or "id"
    if _DEVICE_NAME.fullmatch(slug):  # `con.a-hash` would still be the device
        slug = slug.replace(".", "_")
    return f"{slug}-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
