"""How near one structure is to another (TM-score, GDT, lDDT, RMSD), and whether its own atoms collide."""

from dataclasses import replace
from typing import NamedTuple

import biotite.structure as structures
import numpy as np
from numpy.typing import ArrayLike, NDArray

from chaperonin.protein.atoms import ATOM37, ATOM_TYPES, RESIDUES
from chaperonin.protein.correspondence import number_correspondence, require_pairs
from chaperonin.protein.structure import Structure
from chaperonin.protein.superposition import Motion, search_superpositions, superposed_rmsd

GDT_TS = (1.0, 2.0, 4.0, 8.0)
"""Cut-offs of the total score, in Å."""
GDT_HA = (0.5, 1.0, 2.0, 4.0)
"""Cut-offs of the high-accuracy score, in Å."""


class Comparison(NamedTuple):
    """A model against a reference; all but the RMSD lie from 0 to 1 and count missing residues as wrong."""

    tm_score: float
    gdt_ts: float
    gdt_ha: float
    lddt: float
    lddt_ca: float
    rmsd: float
    """Of the CA atoms that both have, in Å, after superposition of all of them."""
    residues: int
    """How many residues both have."""
    reference_residues: int


def compare(model: Structure, reference: Structure, pairs: NDArray[np.int64] | None = None) -> Comparison:
    """All scores of a model; residues correspond by `pairs` (model, reference), else by chain and number."""
    pairs = number_correspondence(model, reference) if pairs is None else pairs
    mobile, target = ca_pairs(model, reference, pairs)
    length = int(reference.atom_mask[:, ATOM37["CA"]].sum())
    cutoffs = tuple(sorted({*GDT_TS, *GDT_HA}))
    shares = dict(zip(cutoffs, _shares_within(mobile, target, length, cutoffs), strict=True))
    return Comparison(
        tm_score(mobile, target, length)[0],
        float(np.mean([shares[cutoff] for cutoff in GDT_TS])),
        float(np.mean([shares[cutoff] for cutoff in GDT_HA])),
        lddt(model, reference, pairs),
        lddt_ca(model, reference, pairs),
        superposed_rmsd(mobile, target),
        len(mobile),
        length,
    )


def ca_pairs(
    model: Structure, reference: Structure, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CA atoms `[pairs, 3]` of model and reference, where both have one."""
    mobile, has_mobile = model.atom_positions("CA")
    target, has_target = reference.atom_positions("CA")
    pairs = require_pairs(pairs[has_mobile[pairs[:, 0]] & has_target[pairs[:, 1]]])
    return mobile[pairs[:, 0]].astype(np.float64), target[pairs[:, 1]].astype(np.float64)


def tm_scale(length: float) -> float:
    """d0 of the TM-score in Å, at least 0.5 (Zhang & Skolnick 2004, equation 5)."""
    return max(1.24 * np.cbrt(length - 15) - 1.8, 0.5)


def tm_score(mobile: ArrayLike, target: ArrayLike, length: int) -> tuple[float, Motion]:
    """The TM-score of corresponding CA atoms `[pairs, 3]`, and the motion of `mobile` that has it.

    `length` is the number of residues of the reference, whether the model has them or not. The radii of the search are
    those of its authors' program; below 45 residues, where d0 is small beside them, it is made once more with smaller.
    """
    scale = tm_scale(length)
    searches = [_tm_radii(length)]
    if scale < _FINE_SCALE:
        searches.append((2 * scale, 2 * scale + 1))

    def score(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        return (1 / (1 + squared / scale**2)).sum(1, keepdims=True)

    found = [search_superpositions(mobile, target, radii, score) for radii in searches]
    totals, motions = max(found, key=lambda one: float(one[0][0]))
    return float(totals[0]) / length, motions[0]


def gdt(mobile: ArrayLike, target: ArrayLike, length: int, cutoffs: tuple[float, ...] = GDT_TS) -> float:
    """Mean over the cut-offs of the largest share of residues that one superposition brings within it.

    Each cut-off has a search of its own (as LGA, Zemla 2003) beside that of the TM-score, so the value may lie
    a little above that of programs with the latter alone. It is a lower bound, since no search is complete.
    """
    return float(np.mean(_shares_within(mobile, target, length, cutoffs)))


def lddt(model: Structure, reference: Structure, pairs: NDArray[np.int64] | None = None) -> float:
    """Share of the distances up to 15 Å between heavy atoms of different residues that the model keeps.

    The mean of the shares kept within 0.5, 1, 2 and 4 Å (Mariani et al. 2013). Where two atoms of a side chain
    are alike but for their names, the naming that fits better counts. NaN where the reference has no such
    distance. Residues correspond by `pairs` (model, reference), else by chain and number.
    """
    atoms, coordinates = _placed(model, reference, pairs, ca_only=False)
    return float(structures.lddt(atoms, coordinates))


def lddt_ca(model: Structure, reference: Structure, pairs: NDArray[np.int64] | None = None) -> float:
    """The lDDT of CA atoms alone: what pLDDT predicts."""
    atoms, coordinates = _placed(model, reference, pairs, ca_only=True)
    return float(structures.lddt(atoms, coordinates))


def lddt_per_residue(
    model: Structure, reference: Structure, pairs: NDArray[np.int64] | None = None, ca_only: bool = False
) -> NDArray[np.float64]:
    """The lDDT of each residue of the reference `[residues]`; NaN where it has no distance to others."""
    atoms, coordinates = _placed(model, reference, pairs, ca_only)
    values = np.full(len(reference), np.nan)
    found = structures.lddt(atoms, coordinates, aggregation=atoms.residue)
    values[: len(found)] = found
    return values


def clash_score(structure: Structure) -> float:
    """Steric overlaps of heavy atoms per 1,000 atoms.

    Two atoms overlap where they are nearer than the sum of their van der Waals radii (Bondi 1964) minus 0.4 Å,
    or minus 0.8 Å where a hydrogen bond may join them (both N or O). Atoms that up to three bonds join, and the
    sulphurs of a disulphide, do not count.

    MolProbity's clash score (Chen et al. 2010, Acta Cryst. D66:12) also counts overlaps of 0.4 Å and more per 1,000
    atoms, but it adds hydrogens first: most of its clashes are between them, and they count among the 1,000. Its
    radii are those of Probe, and it allows hydrogen bonds by their geometry. So the two numbers are not equal; both
    are near 0 for a relaxed structure and rise with every collision.
    """
    atoms = structure.atoms()
    first, second = _overlaps(atoms) if len(atoms) else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    if not len(first):
        return 0.0
    return 1000 * int((~_are_joined(atoms, first, second)).sum()) / len(atoms)


_RADII = {"C": 1.70, "N": 1.55, "O": 1.52, "S": 1.80}
_OVERLAP, _POLAR_OVERLAP = 0.4, 0.8
_DISULPHIDE = 2.5

_ALIKE = {
    "D": (("OD1", "OD2"),),
    "E": (("OE1", "OE2"),),
    "F": (("CD1", "CD2"), ("CE1", "CE2")),
    "L": (("CD1", "CD2"),),
    "R": (("NH1", "NH2"),),
    "V": (("CG1", "CG2"),),
    "Y": (("CD1", "CD2"), ("CE1", "CE2")),
}
"""Residue → pairs of atoms that differ by name alone, as Mariani et al. list them."""


def _placed(
    model: Structure, reference: Structure, pairs: NDArray[np.int64] | None, ca_only: bool
) -> tuple[structures.AtomArray, NDArray[np.float32]]:
    """Atoms of the reference with their residue's place, and the model's coordinates for them, NaN for none."""
    pairs = number_correspondence(model, reference) if pairs is None else pairs
    kept = reference
    if ca_only:
        only_ca = np.arange(len(ATOM_TYPES)) == ATOM37["CA"]
        kept = replace(reference, atom_mask=reference.atom_mask & only_ca)
    positions = np.full(reference.positions.shape, np.nan, np.float32)
    has_atom = model.atom_mask[pairs[:, 0], :, None]
    positions[pairs[:, 1]] = np.where(has_atom, model.positions[pairs[:, 0]], np.nan)
    residues, types = np.nonzero(kept.atom_mask)
    atoms = kept.atoms()
    atoms.set_annotation("residue", residues)
    # Residues that share a number (chains of one name) would count as one.
    atoms.res_id = residues
    if not ca_only:
        _name_alike(atoms, reference, positions, types)
    return atoms, positions[residues, types]


def _name_alike(
    atoms: structures.AtomArray,
    reference: Structure,
    positions: NDArray[np.float32],
    types: NDArray[np.int64],
) -> None:
    """Swap alike atoms of the model in place where the other naming keeps more distances to all other atoms."""
    other = np.tile(np.arange(len(ATOM_TYPES)), (len(RESIDUES) + 1, 1))
    for residue, swaps in _ALIKE.items():
        for names in swaps:
            first, second = (ATOM37[name] for name in names)
            other[RESIDUES.index(residue), [first, second]] = second, first
    is_alike = (other != np.arange(len(ATOM_TYPES)))[reference.aatype]
    swapped = np.take_along_axis(positions, other[reference.aatype][:, :, None], axis=1)
    alike = is_alike[atoms.residue, types]
    if not alike.any() or alike.all():
        return

    def score(coordinates: NDArray[np.float32]) -> NDArray[np.float64]:
        values = structures.lddt(
            atoms, coordinates[atoms.residue, types], atoms.residue, atom_mask=alike, partner_mask=~alike
        )
        return np.concatenate([values, np.full(len(reference) - len(values), np.nan)])

    better = score(swapped) > score(positions)
    positions[better] = swapped[better]


def _overlaps(atoms: structures.AtomArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of atoms that are too near, joined or not."""
    radii = np.array([_RADII[element] for element in atoms.element])
    is_polar = np.isin(atoms.element, ["N", "O"])
    cells = structures.CellList(atoms, 2 * max(_RADII.values()))
    near = cells.get_atoms(atoms.coord, 2 * max(_RADII.values()) - _OVERLAP)
    first, column = np.nonzero(near >= 0)
    second = near[first, column].astype(np.int64)
    first, second = first[first < second], second[first < second]
    allowed = np.where(is_polar[first] & is_polar[second], _POLAR_OVERLAP, _OVERLAP)
    distances = structures.distance(atoms[first], atoms[second])
    is_disulphide = (atoms.atom_name[first] == "SG") & (atoms.atom_name[second] == "SG")
    too_near = (distances < radii[first] + radii[second] - allowed) & ~(
        is_disulphide & (distances < _DISULPHIDE)
    )
    return first[too_near], second[too_near]


def _are_joined(
    atoms: structures.AtomArray, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a path of up to three bonds joins the atoms of each pair."""
    bonds, _ = structures.connect_via_residue_names(atoms).get_all_bonds()
    nobody = len(atoms)
    bonds = np.concatenate([np.where(bonds < 0, nobody, bonds), np.full((1, bonds.shape[1]), nobody)])
    bonds = np.concatenate([np.append(np.arange(len(atoms)), nobody)[:, None], bonds], axis=1)
    within_two = bonds[bonds[first]].reshape(len(first), -1)
    within_one = bonds[second]
    same = (within_two[:, :, None] == within_one[:, None, :]) & (within_one[:, None, :] != nobody)
    return same.any(axis=(1, 2))


def _tm_radii(length: float) -> tuple[float, float]:
    """First and later radius in Å of the search for the TM-score, as its authors' program has them."""
    radius = float(np.clip(tm_scale(length), 4.5, 8))
    return radius - 1, radius + 1


def _shares_within(
    mobile: ArrayLike, target: ArrayLike, length: int, cutoffs: tuple[float, ...]
) -> NDArray[np.float64]:
    """Largest share of the residues within each cut-off that any search found."""

    def count(squared: NDArray[np.float64]) -> NDArray[np.float64]:
        within = [(squared <= cutoff**2 + _ROUNDING).sum(axis=1) for cutoff in cutoffs]
        return np.stack(within, axis=1).astype(np.float64)

    found = search_superpositions(mobile, target, _tm_radii(length), count)[0]
    for place, cutoff in enumerate(cutoffs):
        if found[place] < len(np.asarray(mobile)):  # else there is no more to find
            more = search_superpositions(mobile, target, (cutoff, cutoff), count, _MOST_STARTS)[0]
            found = np.maximum(found, more)
    return found / length


_FINE_SCALE = 2.0
"""d0 in Å below which the usual radii are too coarse: the best motion of 20 residues was missed by 0.02."""
_MOST_STARTS = 128
"""Of the searches with one cut-off each: above that many residues, more find nothing worth their time."""
_ROUNDING = 1e-9
"""Squared distances carry a rounding error near 1e-10 Å²."""
