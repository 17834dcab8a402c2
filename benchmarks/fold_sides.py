"""Our side of ./go bench fold: a random model and random features of a shape, and how many operations they need."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fold_elsewhere import SCRIPTS, Elsewhere

_RATE_ROWS, _RATE_WIDTH = 4096, 1024


@dataclass(frozen=True)
class Shape:
    """Sizes of one iteration."""

    length: int
    sequences: int
    extra_sequences: int
    blocks: int
    extra_blocks: int = 4

    @property
    def sizes(self) -> str:
        """What a network of any depth reads."""
        return f"{self.length} residues, {self.sequences} + {self.extra_sequences} sequences"

    def __str__(self) -> str:
        return f"{self.sizes}, {self.blocks} of 48 blocks"


SHAPES = (Shape(96, 64, 128, 48), Shape(256, 128, 1024, 8))
"""The large one with 8 of 48 blocks: with all of them a round of both sides takes more than five minutes."""
QUICK = (Shape(16, 8, 8, 1),)
PYTORCH_KERNELS = {
    "gated_attention": "fused",
    "transition": "sliced",
    "pair_scores": "sliced",
    "triangle_multiplication": "planes",
    "outer_product_mean": "sliced",
}
"""What runs where there is no compiler."""


def shapes(options: argparse.Namespace) -> list[Shape]:
    """Those that were asked for."""
    return list(QUICK) if options.quick else [own for own in SHAPES if own.length in options.lengths]


def one_iteration(shape: Shape, kernels: dict[str, str] | None = None) -> Callable[[], Any]:
    """model_3_ptm (no templates) on random features, with the heap as `chaperonin fold` has it."""
    from chaperonin.kernels.host_memory import before_pytorch, keep_heap

    before_pytorch()
    keep_heap()
    import torch

    from chaperonin.kernels import registry
    from chaperonin.models.alphafold.config import PRESETS
    from chaperonin.models.alphafold.features import Features
    from chaperonin.models.alphafold.model import AlphaFold

    torch.manual_seed(0)
    model = AlphaFold(
        replace(PRESETS["model_3_ptm"], blocks=shape.blocks, extra_msa_blocks=shape.extra_blocks)
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    length, sequences, extra = shape.length, shape.sequences, shape.extra_sequences
    features = Features(
        aatype=torch.randint(20, (length,)),
        residue_index=torch.arange(length),
        mask=torch.ones(length),
        target=torch.randn(length, 22),
        msa=torch.randn(sequences, length, 49),
        msa_mask=torch.ones(sequences, length),
        extra_msa=torch.randint(23, (extra, length)),
        extra_has_deletion=torch.zeros(extra, length),
        extra_deletion=torch.zeros(extra, length),
        extra_msa_mask=torch.ones(extra, length),
    )

    def run() -> None:
        with torch.inference_mode(), registry.use(**kernels or {}):
            model(features)

    return run


def matrix_rate() -> Callable[[], float]:
    """A large fp32 product; returns its operations."""
    import torch

    left, right = torch.randn(_RATE_ROWS, _RATE_WIDTH), torch.randn(_RATE_WIDTH, _RATE_WIDTH)

    def run() -> float:
        torch.mm(left, right)
        return 2.0 * _RATE_ROWS * _RATE_WIDTH * _RATE_WIDTH

    return run


def jax_iteration(python: Path, shape: Shape) -> Elsewhere:
    """The same iteration of alphafold-colabfold, in a process of another interpreter."""
    sizes = (shape.length, shape.sequences, shape.extra_sequences, shape.blocks)
    return Elsewhere(python, SCRIPTS / "fold_jax.py", *sizes)


def floating_operations(shape: Shape) -> float:
    """Of the products of one iteration's Evoformer blocks (two for each multiplication and addition)."""
    length = shape.length
    main = _block(shape.sequences, length, width=256)
    extra = _block(shape.extra_sequences, length, width=64)
    return shape.blocks * (main + _pairs(length)) + 4 * (extra + _pairs(length))


def _attention(rows: int, length: int, width: int) -> float:
    return 2 * rows * length * width * (5 * width + 2 * length)


def _block(sequences: int, length: int, width: int) -> float:
    rows = _attention(sequences, length, width) + 2 * length**2 * 128 * 8
    # The extra alignment has one query a column, and one key and value for all heads.
    one_query = 2 * sequences * length * width * (2 * width + 16)
    columns = one_query if width == 64 else _attention(length, sequences, width)
    transition = 16 * sequences * length * width**2
    # In whichever order takes fewer multiplications.
    outer = 2 * 1024 * length**2 * min(sequences + 128, 4 * sequences) + 2 * sequences * length * width * 64
    return rows + columns + transition + outer


def _pairs(length: int) -> float:
    multiplication = 2 * length**2 * 128 * 128 * 6 + 2 * length**3 * 128
    attention = _attention(length, length, 128) + 2 * length**2 * 128 * 4
    return 2 * multiplication + 2 * attention + 16 * length**2 * 128**2
