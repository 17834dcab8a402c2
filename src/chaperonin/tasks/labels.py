"""Label texts taken apart.

Sequence: a class name, `A|B` or `A;B` for several, or a number. Residue: one letter for each residue, or names or
numbers with spaces, commas or semicolons between them. Pairs: `3-17 5-20`, residues that touch, counted from 1.
"""

import math
import re

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import InputError

UNKNOWN = "._?"
"""Letters that say that a label is not known. `-` is not among them: it is coil in some secondary structures."""

_BETWEEN = re.compile(r"[\s,;]+")
_SEVERAL = re.compile(r"[|;]")
_PAIR = re.compile(r"(\d+)-(\d+)")


def several_labels(text: str) -> list[str]:
    """Names in `A|B` or `A;B`."""
    return [name for part in _SEVERAL.split(text) if (name := part.strip())]


def residue_labels(text: str, has_letters: bool) -> list[str]:
    """One label for each residue: by separators where there are any, else by letters where labels are letters."""
    text = text.strip()
    if _BETWEEN.search(text) or not has_letters:
        return [part for part in _BETWEEN.split(text) if part]
    return list(text)


def is_unknown(name: str, kind: str, unknown: str = UNKNOWN) -> bool:
    """Whether a label says that it is not known."""
    if not name or (len(name) == 1 and name in unknown):
        return True
    return kind == "regression" and name.lower() in ("nan", "na", "n/a")


def number_in(name: str) -> float | None:
    """The finite number that a text is, or None."""
    try:
        value = float(name)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_pairs(text: str, length: int, where: str) -> NDArray[np.int64]:
    """Pairs `[n, 2]` counted from 0, the smaller first; InputError for what is no pair of the protein."""
    pairs = []
    for part in (part for part in _BETWEEN.split(text.strip()) if part):
        found = _PAIR.fullmatch(part)
        if found is None:
            advice = "Write residues that touch as 3-17 5-20, counted from 1."
            raise InputError(f"{shown(part)} is no pair of residues", where=where, advice=advice)
        first, second = sorted((int(found[1]), int(found[2])))
        if first == second or first < 1 or second > length:
            advice = "Residues are counted from 1, and none touches itself."
            raise InputError(
                f"the pair {part} is not in a protein of {length} residues", where=where, advice=advice
            )
        pairs.append((first - 1, second - 1))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def first_labels(text: str, level: str, residues: int) -> str:
    """What a label that can be read says of the first residues."""
    if level == "sequence":
        return text
    if level == "residue":
        return ";".join(residue_labels(text, False)[:residues]) if _BETWEEN.search(text) else text[:residues]
    pairs = [part for part in _BETWEEN.split(text) if part]
    return ";".join(part for part in pairs if all(int(end) <= residues for end in part.split("-")))


def shown(name: str) -> str:
    """A label in quotes, cut where it is long."""
    return repr(name if len(name) <= 40 else f"{name[:40]}…")
