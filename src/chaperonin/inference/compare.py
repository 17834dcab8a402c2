"""How near a predicted structure is to a reference, and whether its confidence says so."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.protein.correspondence import Correspondence, Rule, correspond
from chaperonin.protein.structure import Structure, read_structure
from chaperonin.protein.structure_metrics import Comparison, clash_score, compare, lddt_per_residue

LEAST_IDENTITY = 0.3
"""Share of equal residues below which `auto` takes the reference for another protein."""


@dataclass(frozen=True, eq=False)
class Compared:
    """A predicted chain against a chain of a reference."""

    scores: Comparison
    clash_score: float
    """Of the prediction: overlaps per 1,000 heavy atoms."""
    mean_plddt: float | None
    """Of all residues of the prediction, from 0 to 100; None where its file has none."""
    length: int
    """Residues of the prediction."""
    chain: str
    """Of the reference."""
    correspondence: Correspondence
    reference: Structure
    """The chain that was compared."""
    plddt: NDArray[np.float64]
    """Of each residue of the reference `[residues]`; NaN where the prediction has no such residue."""
    lddt: NDArray[np.float64]
    """Of each residue of the reference, all heavy atoms, from 0 to 1; NaN where it has no distance to others."""
    lddt_ca: NDArray[np.float64]
    """The same of CA atoms alone: what pLDDT predicts."""


def compare_structures(
    predicted: Structure | Path | str,
    reference: Structure | Path | str,
    residues: Rule = "auto",
    chain: str | None = None,
) -> Compared:
    """All scores of a predicted chain against a chain of the reference.

    Of several chains of the reference, `chain` is taken, else the one that has most residues of the same kind at
    corresponding places (the first of equal ones). Residues correspond as `residues` says (see
    `protein.correspondence.correspond`). InputError: a prediction of several chains, an unknown chain, no residue in
    common; with `auto` also fewer than 30 % equal residues, which is another protein.
    """
    predicted = predicted if isinstance(predicted, Structure) else read_structure(Path(predicted))
    reference = reference if isinstance(reference, Structure) else read_structure(Path(reference))
    if len(predicted.chains) != 1:
        raise InputError(
            f"the prediction has {len(predicted.chains)} chains ({', '.join(predicted.chains)})",
            advice="Complexes are not compared yet: give a file with one chain.",
        )
    if chain is not None and chain not in reference.chains:
        raise InputError(
            f"the reference has no protein chain {chain!r}", advice=f"It has {', '.join(reference.chains)}."
        )
    chosen, found = _best_chain(
        predicted, reference, residues, reference.chains if chain is None else (chain,)
    )
    if residues == "auto" and found.identity < LEAST_IDENTITY:
        raise InputError(
            f"{found.identity:.0%} of the corresponding residues are equal: the reference is another protein",
            advice="Check the names; to compare them nonetheless, --set residues=number or --set residues=sequence.",
        )
    return _compared(predicted, chosen, found)


def plddt_of(predicted: Structure) -> NDArray[np.float64] | None:
    """The B-factors as pLDDT from 0 to 100; values up to 1 are scaled; None where they cannot be one."""
    values = predicted.confidence.astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 100 or values.max() == 0:
        return None
    return values * 100 if values.max() <= 1 else values


def _best_chain(
    predicted: Structure, reference: Structure, rule: Rule, chains: tuple[str, ...]
) -> tuple[Structure, Correspondence]:
    best: tuple[Structure, Correspondence] | None = None
    refused: InputError | None = None
    seen: set[tuple[str, bytes]] = set()
    for name in chains:
        own = reference.keep(reference.chain_ids == name)
        content = (own.sequence, own.residue_index.tobytes())
        if content in seen:  # it fits no better than the other
            continue
        seen.add(content)
        try:
            found = correspond(predicted, own, rule)
        except InputError as error:
            refused = error
            continue
        if best is None or found.identical > best[1].identical:
            best = (own, found)
    if best is None:
        assert refused is not None
        raise refused
    return best


def _compared(predicted: Structure, reference: Structure, found: Correspondence) -> Compared:
    confidence = plddt_of(predicted)
    plddt = np.full(len(reference), np.nan)
    if confidence is not None:
        plddt[found.pairs[:, 1]] = confidence[found.pairs[:, 0]]
    return Compared(
        scores=compare(predicted, reference, found.pairs),
        clash_score=clash_score(predicted),
        mean_plddt=None if confidence is None else float(confidence.mean()),
        length=len(predicted),
        chain=reference.chains[0],
        correspondence=found,
        reference=reference,
        plddt=plddt,
        lddt=lddt_per_residue(predicted, reference, found.pairs),
        lddt_ca=lddt_per_residue(predicted, reference, found.pairs, ca_only=True),
    )
