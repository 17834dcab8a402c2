"""Which residues of one structure correspond to which of another: by number, by shifted number, by alignment."""

from typing import Literal, NamedTuple

import numpy as np
from biotite.sequence import ProteinSequence
from biotite.sequence.align import SubstitutionMatrix, align_optimal
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.protein.atoms import UNKNOWN
from chaperonin.protein.structure import Structure

Rule = Literal["auto", "number", "sequence"]
"""What residues may be paired by; auto is either, whichever pairs more residues of one kind."""


class Correspondence(NamedTuple):
    """Residues of a model and a reference that are the same place of a protein."""

    pairs: NDArray[np.int64]
    """Places `[pairs, 2]` (model, reference)."""
    rule: str
    """`number`, `number+7` (the model's is the reference's plus 7) or `sequence`."""
    identical: int
    """Pairs of the same residue type."""

    @property
    def identity(self) -> float:
        """Share of the pairs that are of the same residue type."""
        return self.identical / len(self.pairs)


def correspond(model: Structure, reference: Structure, rule: Rule = "auto") -> Correspondence:
    """The pairs of two single chains.

    `number` takes equal numbers. `sequence` is `aligned_correspondence`. `auto` takes numbers, or numbers that one
    constant shifts, where they pair at least as many residues of one kind as the alignment does: so a loop that is
    missing in one structure stays where it is, which an alignment cannot know. InputError: nothing corresponds.
    """
    if rule == "number":
        return _counted(model, reference, number_correspondence(model, reference), "number")
    if rule == "auto":
        shift, identical = _best_shift(model, reference)
        if identical:
            numbered = _shifted(model, reference, shift)
            if identical == min(len(model), len(reference)):
                return numbered  # no alignment pairs more
            aligned = _aligned(model, reference)
            return numbered if aligned is None or identical >= aligned.identical else aligned
    return _counted(model, reference, aligned_correspondence(model, reference), "sequence")


def number_correspondence(model: Structure, reference: Structure) -> NDArray[np.int64]:
    """Places `[pairs, 2]` (model, reference) of residues with the same chain and number.

    Chains that are alone correspond whatever their names. InputError where nothing corresponds.
    """
    one_chain = len(model.chains) == len(reference.chains) == 1

    def keys(structure: Structure) -> list[tuple[str, int]]:
        chains = [""] * len(structure) if one_chain else structure.chain_ids.tolist()
        return list(zip(chains, structure.residue_index.tolist(), strict=True))

    places = {key: place for place, key in enumerate(keys(model))}
    pairs = [(places[key], place) for place, key in enumerate(keys(reference)) if key in places]
    return require_pairs(np.array(pairs, np.int64).reshape(-1, 2))


def aligned_correspondence(model: Structure, reference: Structure) -> NDArray[np.int64]:
    """Places `[pairs, 2]` that an alignment of the sequences pairs (BLOSUM62, gaps −10 and −1, free ends).

    For two chains of one family whose numbers differ. Both must be one chain.
    """
    for structure in (model, reference):
        if len(structure.chains) != 1:
            raise InputError("an alignment needs one chain on each side", advice="Choose one with chain=…")
    alignment = align_optimal(
        ProteinSequence(model.sequence),
        ProteinSequence(reference.sequence),
        SubstitutionMatrix.std_protein_matrix(),
        gap_penalty=(-10, -1),
        terminal_penalty=False,
        max_number=1,
    )[0]
    return require_pairs(alignment.trace[(alignment.trace >= 0).all(axis=1)].astype(np.int64))


def require_pairs(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pairs; InputError where there is none."""
    if not len(pairs):
        raise InputError(
            "the structures have no residue in common",
            advice="Compare chains of the same name and numbers, or align their sequences first.",
        )
    return pairs


def _counted(model: Structure, reference: Structure, pairs: NDArray[np.int64], rule: str) -> Correspondence:
    types = model.aatype[pairs[:, 0]]
    identical = (types == reference.aatype[pairs[:, 1]]) & (types != UNKNOWN)
    return Correspondence(pairs, rule, int(identical.sum()))


def _aligned(model: Structure, reference: Structure) -> Correspondence | None:
    """None where an alignment pairs nothing."""
    try:
        return _counted(model, reference, aligned_correspondence(model, reference), "sequence")
    except InputError:
        return None


def _best_shift(model: Structure, reference: Structure) -> tuple[int, int]:
    """Number in the model minus number in the reference that pairs most residues of one kind, and how many.

    Of equally good ones the smallest, so that numbers which agree are left alone.
    """
    differences = []
    for kind in np.unique(model.aatype[model.aatype != UNKNOWN]):
        own, other = (one.residue_index[one.aatype == kind] for one in (model, reference))
        differences.append((own[:, None] - other[None, :]).ravel())
    if not differences:
        return 0, 0
    shifts, counts = np.unique(np.concatenate(differences), return_counts=True)
    if not len(shifts):
        return 0, 0
    best = min(np.flatnonzero(counts == counts.max()), key=lambda place: abs(int(shifts[place])))
    return int(shifts[best]), int(counts[best])


def _shifted(model: Structure, reference: Structure, shift: int) -> Correspondence:
    _, own, other = np.intersect1d(
        model.residue_index, reference.residue_index + shift, assume_unique=True, return_indices=True
    )
    rule = f"number{shift:+d}" if shift else "number"
    return _counted(model, reference, np.stack([own, other], axis=1).astype(np.int64), rule)
