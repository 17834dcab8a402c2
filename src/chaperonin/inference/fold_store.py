"""What a folding computation leaves in a shard, and back."""

import numpy as np

from chaperonin.inference.fold import Folded
from chaperonin.inference.fold_models import FoldModel
from chaperonin.inference.fold_output import Prediction
from chaperonin.inference.shards import Arrays
from chaperonin.protein.structure import Structure


def to_arrays(folded: Folded, model: int) -> Arrays:
    """The arrays that hold a result; `model` is the place of its model among those of the job."""
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
    of_residue = 37 * (3 * 4 + 1) + 2 * 8 + 4
    return length * of_residue + (4 * length**2 if model.config.aligned_error else 0)
