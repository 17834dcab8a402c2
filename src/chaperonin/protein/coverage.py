"""How much of a protein its alignment covers, and with how similar sequences: what ColabFold's coverage plot shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chaperonin.protein.alignment import Alignment
from chaperonin.protein.atoms import GAP

MOST_ROWS = 400
"""Rows that are kept of a deep alignment: more than a figure can show."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """The rows of an alignment by their identity to the query, best first: all, or evenly chosen ones."""

    sequences: int
    """Rows of the alignment, the query among them."""
    depth: NDArray[np.int32]
    """How many rows have a residue at each position `[residues]`."""
    identity: NDArray[np.float32]
    """Share of the query's residues that a row has too `[rows]`; a gap is no residue."""
    covered: NDArray[np.bool_]
    """Where a row has a residue `[rows, residues]`."""


def coverage_of(alignment: Alignment) -> Coverage:
    """The coverage of an alignment; rows of equal identity keep their order."""
    identity = (alignment.residues == alignment.residues[0]).mean(axis=1, dtype=np.float64)
    order = np.argsort(-identity, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(len(order), MOST_ROWS)).round().astype(np.int64)]
    covered = alignment.residues != GAP
    return Coverage(
        len(alignment),
        covered.sum(axis=0, dtype=np.int32),
        identity[chosen].astype(np.float32),
        covered[chosen],
    )
