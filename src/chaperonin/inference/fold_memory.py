"""How much memory an iteration of AlphaFold 2 holds at its peak, from shapes alone, and which slices fit what is free.

Without gradient the pair representation P (512 bytes for each pair of residues in fp32) exists once, and every stage
holds little besides it and the alignment: one half of a triangle multiplication's projections (as large as P), the
projections of an outer product mean, the scores that pairs add to attention, and some slices.
"""

from dataclasses import dataclass

from chaperonin.data.alignment_features import Prepared
from chaperonin.inference.fold_models import FoldModel
from chaperonin.kernels import gated_attention, outer_product_mean, triangle_multiplication
from chaperonin.kernels.slices import most_bytes, slice_budget, slice_bytes
from chaperonin.models.alphafold.config import AlphaFoldConfig
from chaperonin.models.alphafold.heads import DISTANCE_BINS, ERROR_BINS

RUNTIME_BYTES = 80_000_000
"""What the first iteration leaves for good: pages of the libraries, their scratch, stacks and heaps of threads."""
_FLOAT = 4
_STEPS = 3
"""How often slices become smaller by a factor of eight before a target is given up."""
_READ_BYTES = 49 * _FLOAT + 3 * _FLOAT
"""Of a position of a cluster: its features and its mask, and what sampling holds beside them."""
_READ_EXTRA_BYTES = 8 + 4 * _FLOAT


@dataclass(frozen=True)
class FoldShape:
    """What memory depends on."""

    length: int
    sequences: int
    """Rows of the main alignment, without those of templates."""
    extra_sequences: int
    templates: int = 0


def peak_bytes(config: AlphaFoldConfig, shape: FoldShape, device: str = "cpu") -> int:
    """The most that one iteration holds at once besides parameters, with slices as they are now."""
    length = shape.length
    rows = shape.sequences * _READ_BYTES + shape.extra_sequences * _READ_EXTRA_BYTES
    read = length * (rows + shape.templates * 37 * 4 * _FLOAT)
    clusters = shape.sequences + shape.templates
    main = _FLOAT * clusters * length * config.msa_width
    extra = _FLOAT * shape.extra_sequences * length * config.extra_msa_width
    triangle = triangle_multiplication.held_bytes(length, config.pair_width, device)
    of_extra = _alignment_bytes(config, length, shape.extra_sequences, config.extra_msa_width, device)
    of_main = _alignment_bytes(config, length, clusters, config.msa_width, device)
    stages = (
        _template_bytes(config, shape, device),
        extra + max(triangle, of_extra),
        main + max(triangle, of_main, _structure_bytes(config, shape, device), _head_bytes(config, shape)),
    )
    return read + pair_bytes(config, shape) + max(stages)


def pair_bytes(config: AlphaFoldConfig, shape: FoldShape) -> int:
    """Of the pair representation."""
    return _FLOAT * shape.length**2 * config.pair_width


def slice_budgets(config: AlphaFoldConfig, shape: FoldShape, free: int, device: str = "cpu") -> list[int]:
    """Budgets of a slice to try, one after the other: the largest that the plan fits into `free` comes first."""
    every = [slice_budget(device) >> shift for shift in range(0, 3 * _STEPS, 3)]
    fitting = [own for own in every if needed_bytes(config, shape, device, own) <= free]
    return fitting or every[-1:]


def needed_bytes(config: AlphaFoldConfig, shape: FoldShape, device: str, budget: int | None = None) -> int:
    """What has to be free for an iteration, by default with the smallest slices."""
    with slice_bytes(slice_budget(device) >> 3 * (_STEPS - 1) if budget is None else budget):
        return peak_bytes(config, shape, device) + RUNTIME_BYTES


def shape_of(model: FoldModel, prepared: Prepared, clusters: int, extra: int) -> FoldShape:
    """Of a target, when a model reads at most so many clusters and extra sequences."""
    rows = len(prepared.alignment)
    sequences = min(rows, clusters)
    templates = prepared.templates
    count = 0 if templates is None or not model.config.templates else len(templates.aatype)
    return FoldShape(len(prepared.aatype), sequences, min(rows - sequences, extra), count)


def _alignment_bytes(config: AlphaFoldConfig, length: int, sequences: int, width: int, device: str) -> int:
    """In the half of a block that changes the alignment, besides it and P: its largest step."""
    bias = _FLOAT * config.msa_heads * length**2
    heads = config.msa_heads
    along_rows = bias + gated_attention.held_bytes(sequences, length, width, heads, device)
    along_columns = gated_attention.held_bytes(length, sequences, width, heads, device)
    channels = config.outer_product_width
    sides = 2 * _FLOAT * sequences * length * channels
    means = outer_product_mean.held_bytes(sequences, length, channels, config.pair_width, device)
    return max(along_rows, along_columns, sides + means)


def _template_bytes(config: AlphaFoldConfig, shape: FoldShape, device: str) -> int:
    """All embedded templates, and what a triangle multiplication of the last one holds."""
    if not shape.templates:
        return 0
    length, width = shape.length, config.template_width
    own = _FLOAT * length**2 * width
    multiplied = triangle_multiplication.held_bytes(length, width, device)
    seen = most_bytes(length, (shape.templates + 1) * 2 * length * config.pair_width, device)
    return shape.templates * own + max(multiplied, seen)


def _structure_bytes(config: AlphaFoldConfig, shape: FoldShape, device: str) -> int:
    """The normalised pairs, and the scores of some residues."""
    return pair_bytes(config, shape) + most_bytes(shape.length, 384 * shape.length, device)


def _head_bytes(config: AlphaFoldConfig, shape: FoldShape) -> int:
    """Logits of all pairs, and of the alignment."""
    bins = DISTANCE_BINS + (ERROR_BINS if config.aligned_error else 0)
    return _FLOAT * (shape.length**2 * bins + shape.sequences * shape.length * 23)
