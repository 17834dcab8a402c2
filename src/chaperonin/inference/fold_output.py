"""Predicted structures as files: the names and fields of ColabFold, the summary of AlphaFold 3, and ModelCIF."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import InputError
from chaperonin.files import write_atomically
from chaperonin.inference.model_cif import write_modelcif
from chaperonin.protein.structure import Structure, require_pdb, write_pdb


@dataclass(frozen=True, eq=False)
class Prediction:
    """One structure that a model predicted for a sequence."""

    structure: Structure
    """Its atoms; `confidence` is the pLDDT, from 0 to 100."""
    model: str
    """Name of the parameters, `model_1` for one."""
    seed: int
    """Seed of what was drawn at random."""
    tag: str = "alphafold2_ptm"
    """Kind of model, as ColabFold names it."""
    aligned_error: NDArray[np.floating] | None = None
    """Predicted aligned error in Å `[residues, residues]`, of models that have it."""
    ptm: float | None = None
    """Predicted TM-score, of models that have it."""
    relaxed: Structure | None = None
    """The same after relaxation, with the same pLDDT."""

    @property
    def mean_plddt(self) -> float:
        """What predictions of single chains are ranked by."""
        return float(self.structure.confidence.mean())


def rank_predictions(predictions: Sequence[Prediction]) -> list[Prediction]:
    """The best first: by mean pLDDT, as ColabFold ranks single chains; equals keep their order."""
    return sorted(predictions, key=lambda prediction: -prediction.mean_plddt)


def write_predictions(
    folder: Path,
    name: str,
    predictions: Sequence[Prediction],
    *,
    title: str = "",
    software: Mapping[str, str] | None = None,
    warning: str = "",
) -> list[Path]:
    """Write all files of one sequence, best prediction first, and return their paths.

    `name` begins each file's name and must be safe for one (see `file_names`); `title` is the id where that
    differs. For rank 1, 2, …:
    NAME_unrelaxed_rank_001_TAG_MODEL_seed_000.pdb and `.cif`, the same with `relaxed` where there is one, and
    NAME_scores_rank_001_TAG_MODEL_seed_000.json. Of the best: NAME_predicted_aligned_error_v1.json where the
    model has one, and NAME_summary_confidences.json. A `warning`, of random weights for one, stands in REMARK
    lines, in `_struct.pdbx_model_details` and under the key `warning`. InputError, before any file, for what
    is not finite or does not fit into PDB's columns.
    """
    ranked = rank_predictions(predictions)
    for prediction in ranked:
        _require_sound(prediction)
    paths = []
    for rank, prediction in enumerate(ranked, start=1):
        for state, structure in (("unrelaxed", prediction.structure), ("relaxed", prediction.relaxed)):
            if structure is not None:
                path = folder / file_name_of(name, state, rank, prediction, "pdb")
                paths += _write_structure(path, prediction, structure, title or name, software or {}, warning)
        paths.append(folder / file_name_of(name, "scores", rank, prediction, "json"))
        _write_json(paths[-1], scores(prediction), warning)
    for prediction in ranked[:1]:
        if prediction.aligned_error is not None:
            paths.append(folder / f"{name}_predicted_aligned_error_v1.json")
            _write_json(paths[-1], aligned_error_table(prediction.aligned_error), warning)
        paths.append(folder / f"{name}_summary_confidences.json")
        _write_json(paths[-1], summary_confidences(prediction), warning)
    return paths


def file_name_of(
    name: str,
    kind: str,
    rank: int,
    prediction: Prediction,
    suffix: str,
) -> str:
    """ColabFold's name of a file that belongs to one prediction; ranks count from 1."""
    return f"{name}_{kind}_rank_{rank:03d}_{prediction.tag}_{prediction.model}_seed_{prediction.seed:03d}.{suffix}"


def scores(prediction: Prediction) -> dict[str, Any]:
    """ColabFold's scores: `plddt`, and where the model has them `max_pae`, `pae` and `ptm`; two decimals."""
    content: dict[str, Any] = {"plddt": _rounded(prediction.structure.confidence)}
    if prediction.aligned_error is not None:
        content["max_pae"] = _rounded(prediction.aligned_error.max())
        content["pae"] = _rounded(prediction.aligned_error)
    if prediction.ptm is not None:
        content["ptm"] = _rounded(prediction.ptm)
    return content


def aligned_error_table(aligned_error: NDArray[np.floating]) -> dict[str, Any]:
    """The fields of AlphaFold DB as ColabFold writes them: one object, where the database has a list of one."""
    return {
        "predicted_aligned_error": _rounded(aligned_error),
        "max_predicted_aligned_error": _rounded(aligned_error.max()),
    }


def summary_confidences(prediction: Prediction) -> dict[str, Any]:
    """AlphaFold 3's summary of one chain; what it has not, or we do not compute, is null.

    `ranking_score` is what we rank by, mean pLDDT / 100; AlphaFold 3's is another. `iptm` needs two chains, and
    `fraction_disordered` an estimate of the accessible surface; `has_clash` is not looked for. `mean_plddt` is ours.
    """
    error, ptm = prediction.aligned_error, prediction.ptm
    rounded = None if ptm is None else _rounded(ptm)
    return {
        "chain_ids": list(prediction.structure.chains),
        "chain_iptm": [None],
        "chain_pair_iptm": [[rounded]],
        "chain_pair_pae_min": [[None if error is None else _rounded(error.min())]],
        "chain_ptm": [rounded],
        "fraction_disordered": None,
        "has_clash": None,
        "iptm": None,
        "ptm": rounded,
        "ranking_score": round(prediction.mean_plddt / 100, 4),
        "mean_plddt": _rounded(prediction.mean_plddt),
    }


def _require_sound(prediction: Prediction) -> None:
    length = len(prediction.structure)
    for structure in (prediction.structure, prediction.relaxed):
        if structure is not None:
            require_pdb(structure)
    error = prediction.aligned_error
    if error is not None and error.shape != (length, length):
        raise ValueError(f"aligned error of shape {error.shape} for {length} residues")
    if error is not None and not np.isfinite(error).all():
        raise InputError(
            "aligned errors that are not finite",
            advice="The computation overflowed: run it in a higher precision (float32).",
        )


def _write_structure(
    path: Path,
    prediction: Prediction,
    structure: Structure,
    title: str,
    software: Mapping[str, str],
    warning: str,
) -> list[Path]:
    parameters = f"{prediction.tag} {prediction.model}"
    cif = write_modelcif(
        structure,
        title,
        name=f"{parameters} seed {prediction.seed}",
        software={**software, parameters: ""},
        details=warning,
        ptm=prediction.ptm,
    )
    write_atomically(path, write_pdb(structure, warning))
    write_atomically(path.with_suffix(".cif"), cif)
    return [path, path.with_suffix(".cif")]


def _write_json(path: Path, content: dict[str, Any], warning: str) -> None:
    stamped = {**content, "warning": warning} if warning else content
    write_atomically(path, json.dumps(stamped, allow_nan=False) + "\n")


def _rounded(values: Any) -> Any:
    """Numbers or nested lists of two decimals."""
    return np.round(np.asarray(values, np.float64), 2).tolist()
