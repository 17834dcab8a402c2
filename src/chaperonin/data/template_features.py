"""Structure files → templates of a query, as AlphaFold numbers their atoms."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from biotite import InvalidFileError
from biotite.file import DeserializationError
from biotite.sequence import ProteinSequence
from biotite.sequence.align import SubstitutionMatrix, align_optimal
from biotite.structure import AtomArray, BadStructureError, filter_amino_acids, get_residue_starts
from biotite.structure.info import one_letter_code
from biotite.structure.io.pdb import PDBFile
from biotite.structure.io.pdbx import CIFFile
from biotite.structure.io.pdbx import get_structure as structure_of
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.models.alphafold.features import Templates
from chaperonin.protein.atoms import ATOM37, GAP, RESIDUES, UNKNOWN
from chaperonin.protein.lines import display_name, read_blocks


class Chain(NamedTuple):
    """Amino acids of a chain that have atoms."""

    name: str
    sequence: str
    """One-letter codes: of a changed residue that of its parent, X where there is none."""
    positions: NDArray[np.float32]
    """`[residues, 37, 3]` in Å, zero where an atom is missing."""
    atom_mask: NDArray[np.float32]


def read_templates(
    query: str, paths: Sequence[Path], most: int = 4
) -> tuple[Templates | None, list[InputError]]:
    """Templates from PDB and mmCIF files, plain or gzip, and one error for each file that gives none.

    Of each file the chain that aligns best is taken; of more files than `most` those with most residues of the query,
    best first. None where no file can be used.
    """
    failures: list[InputError] = []
    good: list[tuple[int, Path, _Aligned]] = []
    for path in paths:
        try:
            aligned = _align_best(query, read_chains(path), display_name(path))
        except InputError as failure:
            failures.append(failure)
        else:
            good.append((aligned.identical, path, aligned))
    good.sort(key=lambda item: -item[0])
    for identical, path, _ in good[most:]:
        failures.append(
            InputError(
                f"not used: {most} templates have more than its {identical} residues in common with the query",
                where=display_name(path),
                advice="Give fewer templates.",
            )
        )
    return _stacked([aligned for _, _, aligned in good[:most]]), failures


def read_chains(path: Path) -> list[Chain]:
    """The protein chains of a file's first model; InputError when it cannot be read or has none.

    As in AlphaFold, selenium of selenomethionine is the sulphur of methionine, and of arginine's two last nitrogens the
    one nearer to CD is NH1. Of atoms in two places the one with the higher occupancy is taken.
    """
    where = display_name(path)
    atoms = _read_atoms(path, where)
    atoms = atoms[filter_amino_acids(atoms)]
    chains = []
    for name in dict.fromkeys(atoms.chain_id.tolist()):
        chain = _chain(name, atoms[atoms.chain_id == name])
        if chain.sequence:
            chains.append(chain)
    if not chains:
        raise InputError("no chain of amino acids", where=where, advice="Give the structure of a protein.")
    return chains


_FEWEST_ATOMS = 5
_GAP_PENALTY = (-11, -1)
_SELENIUM = {"SE": "SD"}


class _Aligned(NamedTuple):
    """A template residue by residue of the query, and how many residues are the same in both."""

    aatype: NDArray[np.int64]
    positions: NDArray[np.float32]
    atom_mask: NDArray[np.float32]
    identical: int


def _read_atoms(path: Path, where: str) -> AtomArray:
    blocks = []
    for block in read_blocks(path):
        if isinstance(block, InputError):
            raise block
        blocks.append(block)
    text = b"".join(blocks).decode("latin-1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about optional columns, which are filled in
            if "_atom_site." in text:
                return structure_of(CIFFile.read(io.StringIO(text)), model=1, altloc="occupancy")
            return PDBFile.read(io.StringIO(text)).get_structure(model=1, altloc="occupancy")
    # What the parser meets in a broken file shows as any of these.
    except (
        InvalidFileError,
        DeserializationError,
        BadStructureError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:
        raise InputError(
            f"the structure cannot be read: {error or type(error).__name__}",
            where=where,
            advice="Give a PDB or mmCIF file with atoms.",
        ) from error


def _chain(name: str, atoms: AtomArray) -> Chain:
    starts = get_residue_starts(atoms, add_exclusive_stop=True)
    positions = np.zeros((len(starts) - 1, len(ATOM37), 3), np.float32)
    mask = np.zeros((len(starts) - 1, len(ATOM37)), np.float32)
    letters = []
    for residue, start in enumerate(starts[:-1]):
        code = str(atoms.res_name[start])
        for atom in range(start, starts[residue + 1]):
            atom_name = str(atoms.atom_name[atom])
            place = ATOM37.get(_SELENIUM.get(atom_name, atom_name) if code == "MSE" else atom_name)
            if place is not None and np.isfinite(atoms.coord[atom]).all():
                positions[residue, place] = atoms.coord[atom]
                mask[residue, place] = 1
        letter = one_letter_code(code)
        letters.append(letter if letter is not None and letter in RESIDUES else "X")
        if code == "ARG":
            _order_nitrogens(positions[residue], mask[residue])
    with_trace = mask[:, ATOM37["CA"]] > 0
    sequence = "".join(letter for letter, is_there in zip(letters, with_trace, strict=True) if is_there)
    return Chain(name, sequence, positions[with_trace], mask[with_trace])


def _order_nitrogens(positions: NDArray[np.float32], mask: NDArray[np.float32]) -> None:
    centre, first, second = ATOM37["CD"], ATOM37["NH1"], ATOM37["NH2"]
    if mask[[centre, first, second]].all():
        distances = np.linalg.norm(positions[[first, second]] - positions[centre], axis=1)
        if distances[0] > distances[1]:
            positions[[first, second]] = positions[[second, first]]


def _align_best(query: str, chains: list[Chain], where: str) -> _Aligned:
    different = {chain.sequence: chain for chain in reversed(chains)}  # of copies the first
    best = max(
        (_align(query, chain) for chain in reversed(different.values())),
        key=lambda aligned: aligned.identical,
    )
    if best.atom_mask.sum() < _FEWEST_ATOMS:
        raise InputError(
            "no chain aligns with the query", where=where, advice="Give the structure of a related protein."
        )
    return best


def _align(query: str, chain: Chain) -> _Aligned:
    own, other = _matched(query, chain.sequence)
    aatype = np.full(len(query), GAP, np.int64)
    positions = np.zeros((len(query), *chain.positions.shape[1:]), np.float32)
    mask = np.zeros((len(query), chain.atom_mask.shape[1]), np.float32)
    types = np.array([RESIDUES.index(letter) if letter in RESIDUES else UNKNOWN for letter in chain.sequence])
    aatype[own] = types[other]
    positions[own], mask[own] = chain.positions[other], chain.atom_mask[other]
    identical = sum(query[a] == chain.sequence[b] for a, b in zip(own, other, strict=True))
    return _Aligned(aatype, positions, mask, identical)


def _matched(query: str, template: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the residues that stand opposite each other: all of them where the sequences are the same."""
    if query == template:
        return np.arange(len(query)), np.arange(len(query))
    sequences = [
        ProteinSequence("".join(_alignable(letter) for letter in text)) for text in (query, template)
    ]
    matrix = SubstitutionMatrix.std_protein_matrix()
    alignment = align_optimal(
        *sequences, matrix, gap_penalty=_GAP_PENALTY, terminal_penalty=False, max_number=1
    )[0]
    pairs = alignment.trace[(alignment.trace >= 0).all(axis=1)]
    return pairs[:, 0], pairs[:, 1]


def _alignable(letter: str) -> str:
    return letter if letter in RESIDUES else "X"


def _stacked(aligned: list[_Aligned]) -> Templates | None:
    if not aligned:
        return None
    return Templates(
        aatype=torch.from_numpy(np.stack([template.aatype for template in aligned])),
        positions=torch.from_numpy(np.stack([template.positions for template in aligned])),
        atom_mask=torch.from_numpy(np.stack([template.atom_mask for template in aligned])),
        mask=torch.ones(len(aligned)),
    )
