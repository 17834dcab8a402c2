"""Residues and their heavy atoms as AlphaFold numbers them: 37 atom types, 14 places a residue, 8 rigid groups.

Ideal coordinates: `ideal_atoms.csv`, in Å, each atom in the frame of its rigid group (Jumper et al. 2021,
supplement 1.8.4 and table 2; the values of the published code). Its rows stand in the order of the 14 places.
Row 20 of every table belongs to the unknown residue X, which has no atoms.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RESIDUES = "ARNDCQEGHILKMFPSTWYV"
"""One-letter codes in AlphaFold's order (alphabetical by three-letter code)."""
UNKNOWN, GAP, MASKED = 20, 21, 22
"""Indices of X, of a gap and of a position of an alignment that is hidden from the model."""
# fmt: off
ATOM_TYPES = (
    "N", "CA", "C", "CB", "O", "CG", "CG1", "CG2", "OG", "OG1", "SG", "CD", "CD1", "CD2", "ND1", "ND2", "OD1", "OD2",
    "SD", "CE", "CE1", "CE2", "CE3", "NE", "NE1", "NE2", "OE1", "OE2", "CH2", "NH1", "NH2", "OH", "CZ", "CZ2", "CZ3",
    "NZ", "OXT",
)
# fmt: on
"""The 37 heavy atoms that any residue has, in the order of `[residues, 37, 3]` coordinates."""
ATOM37 = {name: number for number, name in enumerate(ATOM_TYPES)}
GROUPS = ("backbone", "pre-omega", "phi", "psi", "chi1", "chi2", "chi3", "chi4")

_CHI1 = GROUPS.index("chi1")
_PI_PERIODIC = {"D": 2, "E": 3, "F": 2, "Y": 2}
"""Residue → chi angle that a turn by 180 degrees leaves as it is."""


def _read_rows() -> dict[str, list[tuple[str, int, tuple[float, ...]]]]:
    """Three-letter code → (atom, rigid group, position in it) of each place."""
    rows: dict[str, list[tuple[str, int, tuple[float, ...]]]] = {}
    with (Path(__file__).parent / "ideal_atoms.csv").open(newline="") as opened:
        for row in csv.DictReader(opened):
            position = tuple(float(row[axis]) for axis in "xyz")
            rows.setdefault(row["residue"], []).append((row["atom"], int(row["group"]), position))
    return rows


_ROWS = _read_rows()
THREE_LETTER = dict(zip(RESIDUES, _ROWS, strict=True))

PLACES = {residue: tuple(atom for atom, _, _ in _ROWS[THREE_LETTER[residue]]) for residue in RESIDUES}
"""Atoms of a residue in the order of its places, at most 14."""

ATOM14_MASK: NDArray[np.float32] = np.zeros((21, 14), np.float32)
"""Whether a residue has an atom at a place."""
ATOM14_TO_37: NDArray[np.int64] = np.zeros((21, 14), np.int64)
"""Atom type at a place; 0 where there is none."""
ATOM37_MASK: NDArray[np.float32] = np.zeros((21, 37), np.float32)
"""Whether a residue has an atom of a type; no residue has OXT here."""
ATOM37_TO_14: NDArray[np.int64] = np.zeros((21, 37), np.int64)
"""Place of an atom type; 0 where the residue has none."""
ATOM14_GROUP: NDArray[np.int64] = np.zeros((21, 14), np.int64)
"""Rigid group that the atom at a place moves with."""
ATOM14_IDEAL: NDArray[np.float32] = np.zeros((21, 14, 3), np.float32)
"""Its position in that group's frame, in Å."""
CHI_ATOMS: NDArray[np.int64] = np.zeros((21, 4, 4), np.int64)
"""Types of the four atoms that define each chi angle."""
CHI_MASK: NDArray[np.float32] = np.zeros((21, 4), np.float32)
"""Which chi angles a residue has."""
CHI_PI_PERIODIC: NDArray[np.float32] = np.zeros((21, 4), np.float32)
GROUP_FRAMES: NDArray[np.float32] = np.tile(np.eye(4, dtype=np.float32), (21, 8, 1, 1))
"""Frame of each rigid group in that of the group before it (of the backbone: the first five), as `[4, 4]`."""


def _frame(
    axis: NDArray[np.float64], plane: NDArray[np.float64], origin: NDArray[np.float64]
) -> NDArray[np.float64]:
    """x along `axis`, y in the plane of it and `plane`."""
    x = axis / np.linalg.norm(axis)
    y = plane - plane @ x * x
    y /= np.linalg.norm(y)
    frame = np.eye(4)
    frame[:3] = np.stack([x, y, np.cross(x, y), origin], axis=1)
    return frame


def _fill(index: int, residue: str) -> None:
    rows = _ROWS[THREE_LETTER[residue]]
    ideal = {atom: np.array(position) for atom, _, position in rows}
    for place, (atom, group, position) in enumerate(rows):
        ATOM14_MASK[index, place] = ATOM37_MASK[index, ATOM37[atom]] = 1
        ATOM14_TO_37[index, place] = ATOM37[atom]
        ATOM37_TO_14[index, ATOM37[atom]] = place
        ATOM14_GROUP[index, place] = group
        ATOM14_IDEAL[index, place] = position
    GROUP_FRAMES[index, 2] = _frame(ideal["N"] - ideal["CA"], np.array([1.0, 0, 0]), ideal["N"])
    GROUP_FRAMES[index, 3] = _frame(ideal["C"] - ideal["CA"], ideal["CA"] - ideal["N"], ideal["C"])
    # The first atom that a chi angle moves ends it, and begins the axis of the next.
    first_of = {group: atom for atom, group, _ in reversed(rows)}
    path = ["N", "CA", "CB", *(first_of[group] for group in range(_CHI1, 8) if group in first_of)]
    for chi in range(len(path) - 3):
        before, start, end, _ = atoms = path[chi : chi + 4]
        CHI_ATOMS[index, chi] = [ATOM37[atom] for atom in atoms]
        CHI_MASK[index, chi] = 1
        if chi == 0:
            frame = _frame(ideal[end] - ideal[start], ideal[before] - ideal[start], ideal[end])
        else:
            frame = _frame(ideal[end], np.array([-1.0, 0, 0]), ideal[end])
        GROUP_FRAMES[index, _CHI1 + chi] = frame
    if residue in _PI_PERIODIC:
        CHI_PI_PERIODIC[index, _PI_PERIODIC[residue] - 1] = 1


for _index, _residue in enumerate(RESIDUES):
    _fill(_index, _residue)
