"""Rows of ./go bench fold about whole processes: the forecast of their memory, and how long a protein fits."""

import argparse

from benchmarks.fold_peers import weighed_iteration
from benchmarks.fold_sides import Shape
from benchmarks.memory import peak_bytes
from benchmarks.table import Row
from benchmarks.timing import Side

SHAPES = (Shape(256, 128, 1024, 1), Shape(400, 1, 0, 1), Shape(128, 508, 3000, 1))
_LIMIT_BYTES = 20e9


def plan(options: argparse.Namespace) -> list[Row]:
    """What an iteration takes above the loaded network, against the forecast from shapes."""
    return [_planned(own, options)[0] for own in ((Shape(16, 8, 8, 1),) if options.quick else SHAPES)]


def longest(options: argparse.Namespace) -> list[Row]:
    """One block and the structure module on a long protein alone: whole process, and the forecast."""
    shape = Shape(32 if options.quick else options.longest, 1, 0, 1, extra_blocks=0)
    row, process = _planned(shape, options)
    measure = f"one block and the structure module, {shape.length:,} residues alone: peak of the process"
    peak = (f"{process / 1e9:,.1f} GB", f"{_LIMIT_BYTES / 1e9:,.0f} GB")
    return [Row(measure, *peak, process / _LIMIT_BYTES, 1.0, lower_is_better=True), row]


def _planned(shape: Shape, options: argparse.Namespace) -> tuple[Row, int]:
    import torch

    from chaperonin.inference.fold_memory import RUNTIME_BYTES, FoldShape
    from chaperonin.inference.fold_memory import peak_bytes as forecast
    from chaperonin.models.alphafold.config import PRESETS

    torch.set_num_threads(options.threads)
    sizes = FoldShape(shape.length, shape.sequences, shape.extra_sequences)
    expected = forecast(PRESETS["model_3_ptm"], sizes) + RUNTIME_BYTES
    found, process = peak_bytes(Side(weighed_iteration, {"shape": shape}), options.threads)
    return (
        Row(
            f"forecast of the memory of an iteration, {shape.sizes}",
            f"{expected / 1e6:,.0f} MB",
            f"{found / 1e6:,.0f} MB",
            100 * abs(expected / found - 1),
            *(15, 5),
            lower_is_better=True,
            unit=" % off",
        ),
        process,
    )
