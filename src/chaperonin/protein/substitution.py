"""How alike residues are: BLOSUM62 (Henikoff & Henikoff 1992, PNAS 89:10915), the baseline of scores."""

from functools import cache

from biotite.sequence.align import SubstitutionMatrix

from chaperonin.protein.variant import RESIDUES, Variant

_NOT_IN_MATRIX = {"U": "C", "O": "K"}
"""Selenocysteine and pyrrolysine are scored as the residues they are made from."""


@cache
def _blosum62() -> dict[str, int]:
    matrix = SubstitutionMatrix.std_protein_matrix()

    def letter(residue: str) -> str:
        return _NOT_IN_MATRIX.get(residue, residue)

    return {a + b: int(matrix.get_score(letter(a), letter(b))) for a in RESIDUES for b in RESIDUES}


def blosum62(first: str, second: str) -> int:
    """Log-odds of two residues being aligned, in half bits."""
    return _blosum62()[first + second]


def blosum62_score(variant: Variant) -> int:
    """Sum over the substitutions: higher means a milder change, the wild type has 0."""
    scores = _blosum62()
    return sum(scores[substitution.wild_type + substitution.mutant] for substitution in variant)
