"""Rows of ./go bench fold about single parts: the outer product of one sequence, and memory in between."""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.memory import peak_bytes
from benchmarks.table import Row
from benchmarks.timing import Side, interleave


def outer_product(options: argparse.Namespace) -> list[Row]:
    """Single-sequence mode: projected first, against the plain formula."""
    length = 32 if options.quick else 256
    sides = [
        Side(_outer_product, {"length": length, "kernels": kernels})
        for kernels in ({}, {"outer_product_mean": "reference"})
    ]
    samples = interleave(sides, 1 if options.quick else 7, options.threads, apart=not options.quick)
    ours, theirs = samples.medians()
    result, expected = samples.results
    difference = float(np.abs(result - expected).max() / np.abs(expected).max())
    if difference > 1e-5:
        raise AssertionError(f"the two differ by {difference:.2g}: there is nothing to compare")
    return [
        Row(
            f"outer product mean of one sequence of {length} residues, against the plain formula",
            f"{ours * 1e3:,.1f} ms",
            f"{theirs * 1e3:,.1f} ms",
            theirs / ours,
            *(10, 30),
            notes=f"differ by {difference:.1g} of the largest",
            samples={"ours": samples.seconds[0], "theirs": samples.seconds[1]},
        )
    ]


def memory(options: argparse.Namespace) -> list[Row]:
    """What the extra alignment's attention and a triangle multiplication need besides what they read and change."""
    sequences, length = (64, 16) if options.quick else (5120, 64)
    measured = []
    for rows in (sequences, sequences // 16, None):
        arguments = {"sequences": sequences, "length": length, "rows": rows}
        measured.append(peak_bytes(Side(_extra_attention, arguments), options.threads))
    (whole, expected), *others = measured
    pairs = 32 if options.quick else 512
    tensor = pairs * pairs * 128 * 4
    product, _ = peak_bytes(Side(_triangle_multiplication, {"length": pairs}), options.threads)
    rows_at_once = {f"{sequences // 16} rows at a time": None, "each core row by row": 15.6}
    temporaries = [
        _temporaries(f"{sequences} x {length}, {rows}", at_least, whole, *found, expected)
        for (rows, at_least), found in zip(rows_at_once.items(), others, strict=True)
    ]
    return [
        *temporaries,
        Row(
            f"triangle multiplication of {pairs} residues: peak with the pair tensor, of its size",
            f"{(product + tensor) / 1e6:,.0f} MB",
            f"{tensor / 1e6:,.0f} MB",
            (product + tensor) / tensor,
            *(2.5, 2.0),
            lower_is_better=True,
        ),
    ]


def _temporaries(
    what: str, at_least: float | None, whole: int, sliced: int, result: Any, expected: Any
) -> Row:
    error = float(np.linalg.norm(result - expected) / np.linalg.norm(expected))
    if error > 1e-6:
        raise AssertionError(f"the two differ by {error:.2g}: there is nothing to compare")
    return Row(
        f"temporaries of the extra alignment's row attention, {what}",
        f"{sliced / 1e6:,.1f} MB",
        f"{whole / 1e6:,.1f} MB",
        whole / sliced,
        at_least,
        notes=f"results differ by {error:.1g} (relative root mean square)",
        samples={"error": error},
    )


def _outer_product(length: int, kernels: dict[str, str]) -> Callable[[], Any]:
    import torch

    from chaperonin.kernels import registry
    from chaperonin.kernels.outer_product_mean import outer_product_mean

    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(1, length, 32, generator=draw) for _ in range(2))
    out, bias = torch.randn(128, 1024, generator=draw), torch.randn(128, generator=draw)
    pair, mask = torch.zeros(length, length, 128), torch.ones(1, length)

    def run() -> Any:
        with torch.inference_mode(), registry.use(**kernels):
            return outer_product_mean(pair.zero_(), left, right, mask, out, bias).numpy()

    return run


def _extra_attention(sequences: int, length: int, rows: int | None) -> Callable[[], Any]:
    """So many rows at a time by PyTorch's kernels, or as this machine does it."""
    from contextlib import ExitStack

    import torch

    from chaperonin.kernels import registry
    from chaperonin.kernels.gated_attention.fused import row_floats
    from chaperonin.kernels.slices import slice_bytes
    from chaperonin.models.alphafold.attention import RowAttention

    torch.manual_seed(0)
    attention = RowAttention(64, 128, 8)
    msa, pair = torch.randn(sequences, length, 64), torch.randn(length, length, 128)
    mask = torch.ones(sequences, length)
    with torch.inference_mode():  # what libraries keep for themselves is there before
        attention(msa[:8].clone(), pair, mask[:8])

    def run() -> Any:
        with torch.inference_mode(), ExitStack() as stack:
            if rows is not None:
                stack.enter_context(registry.use(gated_attention="fused", pair_scores="sliced"))
                stack.enter_context(slice_bytes(4 * rows * row_floats(length, 64)))
            return attention(msa, pair, mask).numpy()

    return run


def _triangle_multiplication(length: int) -> Callable[[], Any]:
    import torch

    from chaperonin.models.alphafold.evoformer import TriangleMultiplication

    torch.manual_seed(0)
    multiplication = TriangleMultiplication(128, outgoing=True)
    pair, mask = torch.randn(length, length, 128), torch.ones(length, length)

    def update(pair: torch.Tensor, mask: torch.Tensor) -> None:
        with torch.inference_mode():
            multiplication(pair, mask)

    update(pair[:64, :64].clone(), mask[:64, :64])  # what libraries keep for themselves is there before
    return lambda: update(pair, mask)
