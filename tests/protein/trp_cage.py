"""A small protein in eight models, from the Protein Data Bank (1L2Y; its files are public domain)."""

import gzip
import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from biotite.structure import AtomArrayStack
from biotite.structure.io.pdb import PDBFile

from chaperonin.protein.atoms import ATOM_TYPES
from chaperonin.protein.structure import Structure, read_structure, write_pdb

FILE = Path(__file__).with_name("1l2y.pdb.gz")


@cache
def _models() -> AtomArrayStack:
    return PDBFile.read(io.StringIO(gzip.decompress(FILE.read_bytes()).decode())).get_structure()


def model(number: int, confidence: float = 80.0) -> Structure:
    """Model 1, 2, … to 8, with a pLDDT that rises by 20 along the chain."""
    first, atoms = read_structure(FILE), _models()[number - 1]
    places = {(int(atom.res_id), atom.atom_name): place for place, atom in enumerate(atoms)}
    positions = first.positions.copy()
    for residue, atom in zip(*np.nonzero(first.atom_mask), strict=True):
        place = places[int(first.residue_index[residue]), ATOM_TYPES[atom]]
        positions[residue, atom] = atoms.coord[place]
    rising = np.linspace(confidence - 10, confidence + 10, len(first)).astype(np.float32)
    return replace(first, positions=positions, confidence=rising)


def write_structure(path: Path, structure: Structure) -> Path:
    """A PDB file, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(write_pdb(structure))
    return path
