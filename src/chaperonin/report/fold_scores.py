"""What the score files of one folded target say, rank by rank."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Scores:
    """Confidences of one target, best rank first."""

    plddt: list[NDArray[np.float64]]
    """`[residues]` of each rank."""
    aligned_errors: list[NDArray[np.float64]]
    """`[residues, residues]` in Å, of the ranks that have them."""
    warning: str
    """What the files warn of, random weights for one."""


def score_files(outdir: Path) -> dict[str, list[Path]]:
    """Name of each target → NAME_scores_rank_….json in the order of ranks."""
    found: dict[str, list[Path]] = {}
    for path in sorted(outdir.glob("*_scores_rank_*.json")):
        found.setdefault(path.name.rpartition("_scores_rank_")[0], []).append(path)
    return found


def read_scores(paths: Sequence[Path]) -> Scores:
    """The files of one target."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    own = [one for one in found if isinstance(one, dict)]
    return Scores(
        [np.asarray(one["plddt"], np.float64) for one in own if one.get("plddt")],
        [np.asarray(one["pae"], np.float64) for one in own if one.get("pae")],
        "; ".join(sorted({str(one["warning"]) for one in own if one.get("warning")})),
    )
