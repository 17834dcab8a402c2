"""Variants in the field's notation: `A123V`, several joined by `:` (`A1P:D2N`), counted from 1."""

import re
from dataclasses import dataclass

from chaperonin.errors import InputError
from chaperonin.protein.alphabet import STANDARD_RESIDUES

RESIDUES = STANDARD_RESIDUES + "XBUZO"
"""Letters a sequence may hold: the twenty, unknown (X), ambiguous (B, Z) and rare (U, O) ones."""

WILD_TYPE_NAMES = frozenset({"WT", "_WT", "WILDTYPE", "WILD_TYPE"})
"""How tables name the row of the unchanged protein."""

MISSING = frozenset({"", "NAN", "NA", "N/A", "NONE", "NULL"})
"""How tables write that a cell has no value."""

_NOTATION = re.compile(r"([A-Z])(\d{1,9})([A-Z])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Substitution:
    """One residue replaced by another."""

    wild_type: str
    position: int
    """Number of the residue as written, not an index."""
    mutant: str

    def __str__(self) -> str:
        return f"{self.wild_type}{self.position}{self.mutant}"


Variant = tuple[Substitution, ...]
"""Substitutions of one protein, in the order written. The empty tuple is the wild type itself."""


def parse_variant(text: str, unknown: str | None = None) -> Variant:
    """Read `A123V`, `A1P:D2N` or a name of the wild type (`wt`, `_wt`: an empty variant), in any case.

    `unknown="X"` reads the letter J as X. Raises InputError for an empty or missing cell, for what is no
    substitution, for an unknown residue and for a position named twice.
    """
    text = text.strip().upper()
    if text in MISSING:
        raise InputError("the variant is empty", advice="Write it as A123V, or as wt for the wild type.")
    if text in WILD_TYPE_NAMES:
        return ()
    if unknown is not None:
        text = text.replace("J", unknown)
    variant = tuple(_parse_substitution(part.strip(), text) for part in text.split(":"))
    seen: set[int] = set()
    for substitution in variant:
        if substitution.position in seen:
            raise InputError(
                f"position {substitution.position} is changed twice in {_short(text)}",
                advice="Name each position once.",
            )
        seen.add(substitution.position)
    return variant


def _parse_substitution(part: str, text: str) -> Substitution:
    match = _NOTATION.fullmatch(part)
    if match is None:
        raise InputError(
            f"{_short(part) or 'an empty part'} in {_short(text)} is no substitution",
            advice="Write wild-type letter, position, new letter (A123V) and join several by ':'. "
            "Insertions and deletions go into the column mutated_sequence.",
        )
    wild_type, position, mutant = match[1], int(match[2]), match[3]
    for letter in (wild_type, mutant):
        if letter not in RESIDUES:
            raise InputError(
                f"{letter} in {part} is no residue the model knows",
                advice=f"Known residues are {RESIDUES}.",
            )
    return Substitution(wild_type, position, mutant)


def indices(variant: Variant, wild_type: str, first: int = 1) -> list[int]:
    """Index of each substitution in the wild type, whose first residue has the number `first`.

    Raises InputError where a position lies outside or the wild-type letter disagrees.
    """
    found = []
    for substitution in variant:
        index = substitution.position - first
        if not 0 <= index < len(wild_type):
            raise InputError(
                f"position {substitution.position} of {substitution} is outside of the wild type, "
                f"which has residues {first} to {first + len(wild_type) - 1}",
                advice="Check the numbering (setting `first_residue`) and that this is the protein meant.",
            )
        if wild_type[index] != substitution.wild_type:
            raise InputError(
                f"{substitution} expects {substitution.wild_type} at position {substitution.position}, "
                f"the wild type has {wild_type[index]}",
                advice="Check the numbering (setting `first_residue`) and that this is the protein meant.",
            )
        found.append(index)
    return found


def apply_variant(variant: Variant, wild_type: str, first: int = 1) -> str:
    """The mutated sequence. Raises InputError where the variant does not fit the wild type."""
    residues = list(wild_type)
    for index, substitution in zip(indices(variant, wild_type, first), variant, strict=True):
        residues[index] = substitution.mutant
    return "".join(residues)


def undo_variant(variant: Variant, mutated: str, first: int = 1) -> str:
    """The wild type, from a mutated sequence and what was changed in it."""
    return apply_variant(
        tuple(Substitution(s.mutant, s.position, s.wild_type) for s in variant), mutated, first
    )


def variant_between(wild_type: str, mutated: str, first: int = 1) -> Variant:
    """Substitutions that lead from the wild type to the mutated sequence; both have the same length.

    Raises InputError for different lengths: an insertion or a deletion has no unique list of substitutions.
    """
    if is_indel(wild_type, mutated):
        raise InputError(
            f"the mutated sequence has {len(mutated)} residues, the wild type {len(wild_type)}",
            advice="Score insertions and deletions with the protocol `indel` or `pseudo-likelihood`.",
        )
    return tuple(
        Substitution(before, number, after)
        for number, (before, after) in enumerate(zip(wild_type, mutated, strict=True), start=first)
        if before != after
    )


def is_indel(wild_type: str, mutated: str) -> bool:
    """Whether residues were inserted or deleted, seen from the lengths."""
    return len(wild_type) != len(mutated)


def saturation(wild_type: str, first: int = 1) -> list[Substitution]:
    """Every single substitution by one of the twenty residues, position by position."""
    return [
        Substitution(residue, number, mutant)
        for number, residue in enumerate(wild_type, start=first)
        for mutant in STANDARD_RESIDUES
        if mutant != residue
    ]


def _short(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
