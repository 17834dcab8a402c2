"""What a folding computation leaves in a shard, and back; the coverage of its alignment, which it brings along."""

import io
from pathlib import Path

import numpy as np

from chaperonin.files import write_atomically
from chaperonin.inference.fold import Folded
from chaperonin.inference.fold_models import FoldModel
from chaperonin.inference.fold_output import Prediction
from chaperonin.inference.shards import Arrays
from chaperonin.protein.alignment import Alignment
from chaperonin.protein.coverage import MOST_ROWS, Coverage, coverage_of
from chaperonin.protein.structure import Structure

COVERAGE = "coverage.npz"
"""What the name of the file ends in that `write_coverage` leaves."""


def to_arrays(folded: Folded, model: int, alignment: Alignment | None = None) -> Arrays:
    """The arrays that hold a result; `model` is the place of its model among those of the job.

    With the alignment that it was folded with, also how much that covers.
    """
    prediction, structure = folded.prediction, folded.prediction.structure
    arrays: Arrays = {
        "model": np.array(model),
        "seed": np.array(prediction.seed),
        "iterations": np.array(folded.iterations),
        "seconds": np.array(folded.seconds),
        "aatype": structure.aatype,
        "residue_index": structure.residue_index,
        "positions": structure.positions,
        "atom_mask": structure.atom_mask,
        "confidence": structure.confidence,
    }
    if prediction.aligned_error is not None:
        arrays["aligned_error"] = prediction.aligned_error
    if prediction.ptm is not None:
        arrays["ptm"] = np.array(prediction.ptm)
    if alignment is not None and len(alignment) > 1:
        arrays |= _of_coverage(coverage_of(alignment))
    return arrays


def from_arrays(arrays: Arrays, model: FoldModel) -> Folded:
    """The same result again."""
    aatype = arrays["aatype"]
    structure = Structure(
        aatype,
        arrays["residue_index"],
        arrays["positions"],
        arrays["atom_mask"],
        arrays["confidence"],
        np.full(len(aatype), "A"),
    )
    prediction = Prediction(
        structure,
        model.name,
        int(arrays["seed"]),
        model.tag,
        arrays.get("aligned_error"),
        float(arrays["ptm"]) if "ptm" in arrays else None,
    )
    return Folded(prediction, int(arrays["iterations"]), float(arrays["seconds"]))


def result_bytes(model: FoldModel, length: int) -> int:
    """Size of the arrays of one result."""
    of_residue = 37 * (3 * 4 + 1) + 2 * 8 + 4 + 4 + MOST_ROWS
    return length * of_residue + (4 * length**2 if model.config.aligned_error else 0)


def write_coverage(outdir: Path, name: str, arrays: Arrays) -> list[Path]:
    """OUTDIR/NAME_coverage.npz of a result whose target had an alignment; nothing for a sequence alone."""
    if "depth" not in arrays:
        return []
    path = outdir / f"{name}_{COVERAGE}"
    content = io.BytesIO()
    sequences, depth, identity, covered = (arrays[key] for key in _OF_COVERAGE)
    np.savez_compressed(content, sequences=sequences, depth=depth, identity=identity, covered=covered)
    write_atomically(path, content.getvalue())
    return [path]


def read_coverage(path: Path) -> Coverage:
    """What `write_coverage` wrote."""
    with np.load(path, allow_pickle=False) as file:
        sequences, depth, identity, covered = (file[key] for key in _OF_COVERAGE)
    return Coverage(int(sequences), depth, identity, covered)


_OF_COVERAGE = ("sequences", "depth", "identity", "covered")


def _of_coverage(coverage: Coverage) -> Arrays:
    return {key: np.asarray(getattr(coverage, key)) for key in _OF_COVERAGE}
