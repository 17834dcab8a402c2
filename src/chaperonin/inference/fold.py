"""Structure from sequence: AlphaFold 2 with its recycling (Jumper et al. 2021, supplement 1.10 and Algorithm 30)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.data.alignment_features import FeatureSettings, Prepared, prepare, sample
from chaperonin.errors import InputError, MemoryLimitError
from chaperonin.inference.fold_memory import shape_of, slice_budgets
from chaperonin.inference.fold_models import FoldModel
from chaperonin.inference.fold_output import Prediction, rank_predictions
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.inference.memory import free_bytes
from chaperonin.inference.run import is_out_of_memory
from chaperonin.kernels.host_memory import keep_heap, return_free_memory
from chaperonin.kernels.slices import slice_bytes
from chaperonin.models.alphafold import model as alphafold
from chaperonin.models.alphafold.embedding import Recycled
from chaperonin.models.alphafold.features import Templates
from chaperonin.protein import confidence
from chaperonin.protein.alignment import Alignment, join, single_sequence
from chaperonin.protein.atoms import ATOM37, ATOM37_MASK, UNKNOWN
from chaperonin.protein.sequence import clean
from chaperonin.protein.structure import Structure, require_pdb
from chaperonin.shapes import Float

TEMPLATES = 4
"""Most templates that a model reads; it keeps as many rows of the alignment for them."""


@dataclass(frozen=True, eq=False)
class Folded:
    """What one model and one seed gave."""

    prediction: Prediction
    iterations: int
    """Passes of the network: one more than there were recycles."""
    seconds: float


def fold(
    models: Sequence[FoldModel],
    target: Alignment | str,
    templates: Templates | None = None,
    settings: FoldSettings | None = None,
    residue_index: NDArray[np.int64] | None = None,
) -> list[Prediction]:
    """Structures of one sequence, or of an alignment's query, by each model and seed, the best first.

    The same arguments give the same numbers. Residues are numbered from 0 where no numbers are given; `templates` are
    read by the models that can. InputError for a sequence that cannot be folded.
    """
    settings = settings or FoldSettings()
    prepared = prepare_target(target, templates if settings.use_templates else None, residue_index)
    found = [
        fold_once(model, prepared, seed, settings).prediction
        for model in models
        for seed in settings.seed_numbers
    ]
    return rank_predictions(found)[: settings.keep]


def fold_once(model: FoldModel, prepared: Prepared, seed: int, settings: FoldSettings) -> Folded:
    """The structure by one model and one seed.

    InputError where the numbers overflow; MemoryLimitError where memory runs out with the smallest slices too.
    """
    start = time.perf_counter()
    reading = feature_settings(model, settings)
    shape = shape_of(model, prepared, reading.clusters, reading.extra_sequences)
    device = next(model.network.parameters()).device
    for budget in slice_budgets(model.config, shape, free_bytes(device), device.type):
        with slice_bytes(budget):
            found = _unless_memory_runs_out(model, prepared, seed, settings)
        if found is not None:
            return replace(found, seconds=time.perf_counter() - start)
    raise MemoryLimitError(
        f"{shape.length:,} residues need more memory than there is",
        advice="Use a machine with more memory, a part of the sequence, or fewer sequences "
        "(--set msa_clusters=128 --set extra_sequences=512).",
    )


def _unless_memory_runs_out(
    model: FoldModel, prepared: Prepared, seed: int, settings: FoldSettings
) -> Folded | None:
    try:
        result, iterations = recycle(model, prepared, settings, sample_generator(prepared, seed))
        return Folded(_prediction(model, prepared, seed, result), iterations, 0.0)
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not is_out_of_memory(error):
            raise
    # Here the error and the frames that it held, with their tensors, are gone.
    return_free_memory()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return None


def recycle(
    model: FoldModel, prepared: Prepared, settings: FoldSettings, generator: Generator
) -> tuple[alphafold.Prediction, int]:
    """The result of the last iteration, and how many there were; each reads a sample of its own."""
    network = model.network
    device = next(network.parameters()).device
    reading = feature_settings(model, settings)
    is_seen = prepared.aatype.to(device) != UNKNOWN
    keep_heap()
    last: Recycled | None = None
    iterations = 0
    with torch.inference_mode():
        while True:
            features = sample(prepared, reading, generator)
            result = network(features.to(device), last)
            iterations += 1
            if iterations > settings.recycles_of(model) or (
                last is not None
                and settings.recycle_tolerance > 0
                and distance_change(last.positions, result.structure.positions, is_seen)
                < settings.recycle_tolerance
            ):
                return result, iterations
            last = result.recycled()
            # A view of one row would keep the whole alignment in memory.
            last = replace(last, msa_row=last.msa_row.clone())
            del result


def distance_change(
    before: Float[Tensor, "residues 37 3"],
    after: Float[Tensor, "residues 37 3"],
    is_seen: Float[Tensor, " residues"],
) -> float:
    """Root mean square change, in Å, of the distances between Cα atoms (Evans et al. 2021, as in ColabFold)."""
    old, new = (positions[is_seen, ATOM37["CA"]].double() for positions in (before, after))
    change = _distances(old) - _distances(new)
    return float(change.square().mean().sqrt())


def prepare_target(
    target: Alignment | str,
    templates: Templates | None = None,
    residue_index: NDArray[np.int64] | None = None,
) -> Prepared:
    """A sequence or an alignment, without rows that repeat another; InputError where no residue has atoms."""
    alignment = join([single_sequence(clean(target).sequence) if isinstance(target, str) else target])
    prepared = prepare(alignment, residue_index, templates)
    if not (prepared.aatype != UNKNOWN).any():
        raise InputError(
            "none of the residues is known", advice="Give a sequence with some of the twenty amino acids."
        )
    return prepared


def feature_settings(model: FoldModel, settings: FoldSettings) -> FeatureSettings:
    """How much of an alignment this model reads."""
    rows = TEMPLATES if model.config.templates and settings.msa_clusters > TEMPLATES else 0
    extra = model.config.extra_sequences if settings.extra_sequences is None else settings.extra_sequences
    return FeatureSettings(msa_clusters=settings.msa_clusters, template_rows=rows, extra_sequences=extra)


def sample_generator(prepared: Prepared, seed: int) -> Generator:
    """What draws the samples: it depends on the seed and on the alignment, not on the model or its company."""
    return np.random.default_rng([seed, int(alignment_digest(prepared), 16)])


def alignment_digest(prepared: Prepared) -> str:
    """SHA-256 of the sequence, its aligned rows and its residue numbers."""
    alignment = prepared.alignment
    arrays = (alignment.residues, alignment.deletions, prepared.residue_index.numpy())
    return _digest(alignment.query.encode(), *(array.tobytes() for array in arrays))


def template_digest(templates: Templates | None) -> str:
    """SHA-256 of the templates; empty where there are none."""
    if templates is None:
        return ""
    tensors = (templates.aatype, templates.positions, templates.atom_mask, templates.mask)
    return _digest(*(tensor.contiguous().numpy().tobytes() for tensor in tensors))


def _distances(points: Float[Tensor, "residues 3"]) -> Float[Tensor, "residues residues"]:
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def _digest(*parts: bytes) -> str:
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _prediction(model: FoldModel, prepared: Prepared, seed: int, result: alphafold.Prediction) -> Prediction:
    aatype = prepared.aatype.numpy()
    mask = ATOM37_MASK[aatype] > 0
    structure = Structure(
        aatype,
        prepared.residue_index.numpy() + 1,
        np.where(mask[..., None], _array(result.structure.positions), 0).astype(np.float32),
        mask,
        confidence.plddt(_array(result.logits.lddt)).astype(np.float32),
        np.full(len(aatype), "A"),
    )
    require_pdb(structure)
    error = ptm = None
    if result.logits.aligned_error is not None:
        logits = _array(result.logits.aligned_error)
        error = confidence.predicted_aligned_error(logits).astype(np.float32)
        ptm = confidence.predicted_tm_score(logits)
        if not np.isfinite(error).all():
            raise InputError("aligned errors that are not finite", advice="Report this sequence.")
    return Prediction(structure, model.name, seed, model.tag, error, ptm)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().cpu().numpy()
