"""The structure of a protein: its heavy atoms, read from PDB or mmCIF files and written as PDB."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import biotite.structure as structures
import numpy as np
from biotite import InvalidFileError
from biotite.file import DeserializationError
from biotite.structure.info import one_letter_code
from biotite.structure.io.pdb import PDBFile
from biotite.structure.io.pdb.hybrid36 import encode_hybrid36
from biotite.structure.io.pdbx import CIFFile, get_structure
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.protein.atoms import ATOM37, ATOM37_MASK, ATOM_TYPES, RESIDUES, THREE_LETTER, UNKNOWN
from chaperonin.protein.lines import DEFAULT_LIMITS, Limits, read_blocks


@dataclass(frozen=True, eq=False)
class Structure:
    """Residues of one or more chains in file order; atoms that are not there have mask False and position 0."""

    aatype: NDArray[np.int64]
    """Residue types `[residues]` in AlphaFold's order, 20 for unknown."""
    residue_index: NDArray[np.int64]
    """Number of each residue in its chain `[residues]`; the first residue of a sequence is 1."""
    positions: NDArray[np.float32]
    """Coordinates in Å `[residues, 37, 3]`."""
    atom_mask: NDArray[np.bool_]
    """Which atoms are there `[residues, 37]`."""
    confidence: NDArray[np.float32]
    """pLDDT from 0 to 100 `[residues]`; the mean B-factor where a file holds an experiment."""
    chain_ids: NDArray[np.str_]
    """Chain of each residue `[residues]`."""

    def __post_init__(self) -> None:
        length, atoms = len(self.aatype), len(ATOM_TYPES)
        shapes = {
            "residue_index": (length,),
            "positions": (length, atoms, 3),
            "atom_mask": (length, atoms),
            "confidence": (length,),
            "chain_ids": (length,),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")

    def __len__(self) -> int:
        return len(self.aatype)

    @property
    def sequence(self) -> str:
        """One letter a residue; X where it is unknown. Residues that were not seen leave no gap."""
        return "".join((RESIDUES + "X")[residue] for residue in self.aatype)

    @property
    def chains(self) -> tuple[str, ...]:
        """Ids of the chains in their order."""
        return tuple(dict.fromkeys(self.chain_ids.tolist()))

    def keep(self, residues: NDArray[np.bool_] | NDArray[np.int64]) -> "Structure":
        """Some of the residues, by mask or by place."""
        return Structure(
            self.aatype[residues],
            self.residue_index[residues],
            self.positions[residues],
            self.atom_mask[residues],
            self.confidence[residues],
            self.chain_ids[residues],
        )

    def atom_positions(self, atom: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Coordinates `[residues, 3]` of one atom type and the mask of residues that have it."""
        return self.positions[:, ATOM37[atom]], self.atom_mask[:, ATOM37[atom]]

    def atoms(self) -> structures.AtomArray:
        """The atoms that are there as biotite's array, residue by residue; pLDDT is its `b_factor`."""
        residues, types = np.nonzero(self.atom_mask)
        atoms = structures.AtomArray(len(residues))
        names = np.array(ATOM_TYPES)[types]
        atoms.coord = self.positions[residues, types]
        atoms.atom_name = names
        atoms.element = names.astype("U1")
        atoms.res_name = _RESIDUE_NAMES[self.aatype[residues]]
        atoms.res_id = self.residue_index[residues]
        atoms.chain_id = self.chain_ids[residues].astype("U4")
        atoms.set_annotation("b_factor", self.confidence[residues])
        atoms.set_annotation("occupancy", np.ones(len(residues), np.float32))
        return atoms


def read_structure(path: Path, chain: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Structure:
    """The protein of a PDB or mmCIF file (also `.gz`), as AlphaFold reads templates.

    The first model; of alternative places the one with the highest occupancy; no hydrogens, waters or ligands.
    A modified residue counts as its parent (MSE as MET, its selenium as sulphur), without the atoms that the
    parent has not. NH1 of an arginine is the one nearer to CD. Residues are numbered as in the file; in mmCIF by
    `label_seq_id`, so that the first residue of the sequence is 1 whether it was seen or not, and chains have
    the author's names. InputError where the file holds no protein, not that chain, or cannot be understood.
    """
    text = _read_text(path, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what biotite guesses, elements for one, is not used
            atoms = _cif_atoms(text) if _is_cif(text) else _pdb_atoms(text)
    except (InvalidFileError, DeserializationError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"not a PDB or mmCIF file that can be understood ({error})",
            where=str(path),
            advice="Download it again, or write it anew with the program it came from.",
        ) from error
    structure = _from_atoms(atoms, str(path))
    if chain is None:
        return structure
    if chain not in structure.chains:
        known = ", ".join(repr(name) for name in structure.chains)
        raise InputError(f"no protein chain {chain!r}", where=str(path), advice=f"It has {known}.")
    return structure.keep(structure.chain_ids == chain)


def write_pdb(structure: Structure, remark: str = "") -> str:
    """The text of a PDB file as AlphaFold and ColabFold lay it out: 80 columns, pLDDT in the B-factor column.

    Atoms above 99,999 and residues above 9,999 are numbered in hybrid-36, which biotite, gemmi, ChimeraX and
    PyMOL read. InputError for what PDB cannot hold: chain names of several letters, coordinates of 10,000 Å,
    values that are not finite.
    """
    require_pdb(structure)
    lines = [f"REMARK   6 {line}" for line in _wrap(remark)]
    lines.append("MODEL     1")
    lines += _pdb_atom_lines(structure)
    lines += ["ENDMDL", "END"]
    return "".join(f"{line:<80}\n" for line in lines)


def require_finite(structure: Structure) -> None:
    """InputError where a coordinate or a confidence is not a number, as after an overflow."""
    if not (np.isfinite(structure.positions).all() and np.isfinite(structure.confidence).all()):
        raise InputError(
            "coordinates or confidences that are not finite",
            advice="The computation overflowed: run it in a higher precision (float32).",
        )


def require_pdb(structure: Structure) -> None:
    """InputError where a structure has what the columns of a PDB file cannot hold."""
    require_finite(structure)
    advice = "Write ModelCIF, which has no such limit."
    if long := [chain for chain in structure.chains if len(chain) > 1]:
        raise InputError(f"chain {long[0]!r} has a name of several letters; PDB holds one", advice=advice)
    present = structure.positions[structure.atom_mask]
    if present.size and (present.max() > 9999.999 or present.min() < -999.999):
        raise InputError("coordinates outside of -999.999 to 9999.999 Å, the columns of PDB", advice=advice)
    if len(structure) and (
        structure.residue_index.min() < -999 or structure.residue_index.max() >= _HYBRID_END
    ):
        raise InputError("residue numbers that PDB cannot hold", advice=advice)
    if structure.atom_mask.sum() + len(structure.chains) >= _HYBRID_END * 36:
        raise InputError("more atoms than PDB can number", advice=advice)
    if len(structure) and not -99.99 <= structure.confidence.min() <= structure.confidence.max() <= 999.99:
        raise InputError("confidences outside of -99.99 to 999.99, the columns of PDB", advice=advice)


_RESIDUE_NAMES = np.array([*(THREE_LETTER[residue] for residue in RESIDUES), "UNK"])
_ALLOWED: NDArray[np.bool_] = ATOM37_MASK.astype(bool)
_ALLOWED[:, ATOM37["OXT"]] = True
_ALLOWED[UNKNOWN, [ATOM37[atom] for atom in ("N", "CA", "C", "CB", "O")]] = True
"""Atoms that a residue may have in a file."""


def _read_text(path: Path, limits: Limits) -> str:
    blocks = []
    for block in read_blocks(path, limits):
        if isinstance(block, InputError):
            raise InputError(block.what, where=str(path), advice=block.advice)
        blocks.append(block)
    return b"".join(blocks).decode("utf-8", "replace")


def _is_cif(text: str) -> bool:
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            return line.lower().startswith("data_")
    return False


def _pdb_atoms(text: str) -> structures.AtomArray:
    file = PDBFile.read(io.StringIO(text))
    return file.get_structure(model=1, altloc="occupancy", extra_fields=["b_factor", "occupancy"])


def _cif_atoms(text: str) -> structures.AtomArray:
    """Atoms of polymers with the author's chains and the sequence's numbers."""
    block = CIFFile.read(io.StringIO(text)).block
    fields = [name for name in ("label_seq_id",) if name in block["atom_site"]]
    extra = [*fields, *(name for name in ("b_factor", "occupancy") if _CIF_NAMES[name] in block["atom_site"])]
    atoms = get_structure(block, model=1, altloc="occupancy", extra_fields=extra)
    for name, usual in (("b_factor", 0.0), ("occupancy", 1.0)):
        if name not in extra:
            atoms.set_annotation(name, np.full(len(atoms), usual, np.float32))
    if fields:
        atoms = atoms[np.char.isdigit(atoms.label_seq_id)]
        atoms.res_id = atoms.label_seq_id.astype(np.int64)
        atoms.ins_code[:] = ""
        atoms.hetero[:] = False  # what has a place in the sequence is no ligand
    return atoms


_CIF_NAMES = {"b_factor": "B_iso_or_equiv", "occupancy": "occupancy"}


def _from_atoms(atoms: structures.AtomArray, where: str) -> Structure:
    """The residues that are amino acids; one at each number of a chain."""
    is_ligand = atoms.hetero & np.isin(atoms.res_name, _RESIDUE_NAMES)
    is_protein = structures.filter_amino_acids(atoms) | np.isin(atoms.res_name, _RESIDUE_NAMES)
    types = np.array([ATOM37.get(name, -1) for name in _atom_names(atoms)], np.int64)
    is_kept = is_protein & ~is_ligand & (types >= 0)
    atoms, types = atoms[is_kept], types[is_kept]
    if not len(atoms):
        raise InputError("no amino acids", where=where, advice="Give a file with a protein in it.")
    starts = structures.get_residue_starts(atoms, add_exclusive_stop=True)
    aatype = np.array([_residue_type(name) for name in atoms.res_name[starts[:-1]]], np.int64)
    numbers, owner = _one_at_each_number(atoms, starts, where)
    residue = np.repeat(np.arange(len(aatype)), np.diff(starts))
    kept = _ALLOWED[aatype[residue], types] & np.isin(residue, owner)
    place = np.searchsorted(owner, residue[kept])
    mask = np.zeros((len(owner), len(ATOM_TYPES)), bool)
    mask[place, types[kept]] = True
    positions = np.zeros((*mask.shape, 3), np.float32)
    positions[place, types[kept]] = atoms.coord[kept]
    sums = np.bincount(place, atoms.b_factor[kept], len(owner))
    confidence = sums / np.maximum(np.bincount(place, minlength=len(owner)), 1)
    chains = atoms.chain_id[starts[owner]]
    structure = Structure(
        aatype[owner], numbers, positions, mask, confidence.astype(np.float32), chains.astype(np.str_)
    )
    structure = structure.keep(np.flatnonzero(mask.any(axis=1)))
    _name_arginine_nitrogens(structure)
    return structure


def _atom_names(atoms: structures.AtomArray) -> Iterator[str]:
    for name, residue in zip(atoms.atom_name.tolist(), atoms.res_name.tolist(), strict=True):
        yield "SD" if name == "SE" and residue == "MSE" else name


def _residue_type(name: str) -> int:
    """Index of a residue by its three letters; a modified one has the letter of its parent."""
    letter = _ONE_LETTER.get(name) or one_letter_code(name) or "X"
    return RESIDUES.index(letter) if letter in RESIDUES else UNKNOWN


_ONE_LETTER = {name: letter for letter, name in THREE_LETTER.items()}


def _one_at_each_number(
    atoms: structures.AtomArray, starts: NDArray[np.int64], where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the residues to keep, and their places among all; where two kinds share a number, the fuller."""
    best: dict[tuple[str, int], int] = {}
    occupancies = np.add.reduceat(atoms.occupancy, starts[:-1]) / np.diff(starts)
    for place, start in enumerate(starts[:-1]):
        key = (str(atoms.chain_id[start]), int(atoms.res_id[start]))
        other = best.setdefault(key, place)
        if atoms.ins_code[start] != atoms.ins_code[starts[other]]:
            raise InputError(
                f"residues {key[1]} and {key[1]}{atoms.ins_code[start]} of chain {key[0]!r} share a number",
                where=where,
                advice="Insertion codes are not supported: give the mmCIF file, or number the residues anew.",
            )
        if occupancies[place] > occupancies[other]:
            best[key] = place
    owner = np.array(sorted(best.values()), np.int64)
    return atoms.res_id[starts[owner]].astype(np.int64), owner


def _name_arginine_nitrogens(structure: Structure) -> None:
    """Swap NH1 and NH2 in place where NH2 is nearer to CD: a frequent error of files."""
    first, second, carbon = ATOM37["NH1"], ATOM37["NH2"], ATOM37["CD"]
    has_all = structure.atom_mask[:, [first, second, carbon]].all(axis=1)
    from_carbon = structure.positions - structure.positions[:, carbon : carbon + 1]
    distances = np.linalg.norm(from_carbon[:, [first, second]], axis=-1)
    swap = np.flatnonzero(
        has_all & (structure.aatype == RESIDUES.index("R")) & (distances[:, 1] < distances[:, 0])
    )
    both = structure.positions[swap][:, [second, first]]
    structure.positions[swap[:, None], [first, second]] = both


_HYBRID_END = 10_000 + 2 * 26 * 36**3
"""First number that four columns of hybrid-36 cannot hold."""


def _pdb_atom_lines(structure: Structure) -> Iterator[str]:
    """ATOM lines, and TER after the last residue of each chain."""
    seen = np.flatnonzero(structure.atom_mask.any(axis=1))
    serial = 0
    for place, next_place in zip(seen, [*seen[1:], None], strict=True):
        chain = str(structure.chain_ids[place])
        number = _number(structure.residue_index[place], 4)
        residue = f"{_RESIDUE_NAMES[structure.aatype[place]]} {chain or ' '}{number:>4}"
        confidence = structure.confidence[place]
        for atom in np.flatnonzero(structure.atom_mask[place]):
            serial += 1
            name = ATOM_TYPES[atom]
            x, y, z = structure.positions[place, atom].tolist()
            yield (
                f"ATOM  {_number(serial, 5):>5}  {name:<3} {residue}    {x:8.3f}{y:8.3f}{z:8.3f}"
                f"{1.0:6.2f}{confidence:6.2f}          {name[0]:>2}"
            )
        if next_place is None or structure.chain_ids[next_place] != chain:
            serial += 1
            yield f"TER   {_number(serial, 5):>5}      {residue}"


def _number(value: int, columns: int) -> str:
    """A decimal number, or hybrid-36 where the columns are too few."""
    return str(value) if value < 10**columns else encode_hybrid36(int(value), columns)


def _wrap(text: str, width: int = 69) -> list[str]:
    """Printable ASCII in lines of some width."""
    lines: list[str] = []
    for word in "".join(letter if " " <= letter <= "~" else " " for letter in text).split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += [word[start : start + width] for start in range(0, len(word), width)]
    return lines
