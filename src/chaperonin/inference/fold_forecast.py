"""What folding will take: the plan of a whole input, and whether each target fits into memory."""

from collections.abc import Sequence
from pathlib import Path

from chaperonin.data.alignment_features import Prepared
from chaperonin.data.sources import Rejected
from chaperonin.errors import ChaperoninError, MemoryLimitError
from chaperonin.inference.fold import feature_settings
from chaperonin.inference.fold_input import Reading, Target, items, read_target
from chaperonin.inference.fold_memory import RUNTIME_BYTES, FoldShape, needed_bytes, peak_bytes, shape_of
from chaperonin.inference.fold_models import FoldModel
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.inference.memory import free_bytes
from chaperonin.kernels.hardware import choose_device


def forecast_fold(models: Sequence[FoldModel], source: Path, settings: FoldSettings) -> str:
    """What a run would do: targets, residues, sequences, passes of the network, and the memory of the largest."""
    readings: list[Reading] = []
    failures: list[str] = []
    for item in items(source, settings):
        try:
            readings.append(read_checked(item, models, settings))
        except ChaperoninError as error:
            failures.append(f"# would fail: {item.id}: {error}")
    residues = sum(len(reading.prepared.aatype) for reading in readings)
    sequences = sum(len(reading.prepared.alignment) for reading in readings)
    most = max((_largest(models, reading.prepared, settings) for reading in readings), default=0)
    iterations = [settings.recycles_of(model) + 1 for model in models]
    passes = sum(iterations) * settings.seeds
    names = ", ".join(f"{model.tag} {model.name}" for model in models)
    return "\n".join(
        (
            f"# {len(readings):,} targets, {len(failures):,} that would fail, {residues:,} residues, "
            f"{sequences:,} aligned sequences",
            f"# {len(models)} models ({names}) × {settings.seeds} seeds × "
            f"{' or '.join(str(number) for number in sorted(set(iterations)))} iterations (recycles + 1): "
            f"{passes:,} passes of the network for a target, {passes * len(readings):,} in all",
            f"# {most / 1e9:.2f} GB for the largest target, besides the parameters",
            *failures,
        )
    )


def read_checked(item: Target | Rejected, models: Sequence[FoldModel], settings: FoldSettings) -> Reading:
    """A target as it was read; ChaperoninError for one that cannot be folded, or not in the memory there is."""
    if isinstance(item, Rejected):
        raise item.error
    try:
        reading = read_target(item, settings)
    except MemoryError as error:
        raise MemoryLimitError(
            "its files do not fit into memory", where=item.where, advice="Give a smaller alignment."
        ) from error
    needed = _least(models, reading.prepared, settings)
    free = free_bytes(choose_device(settings.device))
    if needed > free:  # the system would kill the process, not the target
        raise MemoryLimitError(
            f"{len(reading.prepared.aatype):,} residues need at least {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free",
            where=item.where,
            advice="Use a machine with more memory, or fold a part of the sequence.",
        )
    return reading


def peak_of(model: FoldModel, prepared: Prepared, settings: FoldSettings) -> int:
    """The most that folding this target holds at once besides parameters, with slices of the usual size."""
    device = choose_device(settings.device).type
    return peak_bytes(model.config, _shape(model, prepared, settings), device) + RUNTIME_BYTES


def _largest(models: Sequence[FoldModel], prepared: Prepared, settings: FoldSettings) -> int:
    return max(peak_of(model, prepared, settings) for model in models)


def _least(models: Sequence[FoldModel], prepared: Prepared, settings: FoldSettings) -> int:
    device = choose_device(settings.device).type
    return max(needed_bytes(model.config, _shape(model, prepared, settings), device) for model in models)


def _shape(model: FoldModel, prepared: Prepared, settings: FoldSettings) -> FoldShape:
    reading = feature_settings(model, settings)
    return shape_of(model, prepared, reading.clusters, reading.extra_sequences)
