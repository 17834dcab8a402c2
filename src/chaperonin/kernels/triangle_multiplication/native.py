"""Triangle multiplication compiled for this processor, in place, beside one half of the projections.

As in `planes`, incoming edges are outgoing ones of the transposed pairs. The right half of the projections is written
once, channel by channel, in the order in which the product over the third residue reads it; then each core takes some
rows from their left half to their update.
"""

import torch
from torch import Tensor

from chaperonin.kernels.cores import core_count
from chaperonin.kernels.native.calls import in_place, packed, padded, panel, require_shape, share, takes
from chaperonin.kernels.native.library import lacks as lacks
from chaperonin.kernels.slices import slices
from chaperonin.kernels.triangle_multiplication.weights import TriangleWeights

NAME = "native"
NOTE = "compiled for this processor, rows in place beside one half of the projections; CPU, fp32, no gradient"
_EPSILON = 1e-5
_LEAST_ROWS = 14
"""A tile of products: for fewer the product over the third residue waits for memory, it reads all planes each time.

Where there are more cores than such parts they get fewer all the same: better than nothing to do."""


def supports(pair: Tensor, mask: Tensor, weights: TriangleWeights, outgoing: bool) -> bool:
    """fp32 on a CPU without gradient; the pairs may be turned, their channels lie together."""
    return pair.stride(-1) == 1 and takes(pair, mask, *weights)


def triangle_multiplication(pair: Tensor, mask: Tensor, weights: TriangleWeights, outgoing: bool) -> Tensor:
    """In place."""
    edges, mask = (pair, mask) if outgoing else (pair.transpose(0, 1), mask.T)
    torch.ops.chaperonin.triangle_multiplication_(edges, mask, *weights)
    return pair


def plane_floats(length: int, channels: int) -> int:
    """Numbers of one half of the projections."""
    return channels * padded(length) * length


def core_floats(length: int, width: int, channels: int, cores: int) -> int:
    """Numbers that each core holds in between."""
    return (
        _step(length, channels, cores) * _row_floats(length, channels)
        + padded(length) * width
        + panel() * (channels + 2 * width)
    )


def _row_floats(length: int, channels: int) -> int:
    """Of one row: its left half, and a panel of its products."""
    return channels * (padded(length) + panel())


def _step(length: int, channels: int, cores: int) -> int:
    """Rows at a time: half of the budget, as the planes that are read beside them want a place in the cache too.

    Fewer where the last of them would leave a core with nothing to do.
    """
    parts = slices(length, 2 * 4 * _row_floats(length, channels), "cpu", cores, _LEAST_ROWS)
    turns = max(1, -(-length // next(parts, slice(0, 1)).stop))
    return max(1, -(-length // (-(-turns // cores) * cores)))


@in_place(
    "triangle_multiplication_(Tensor(a!) edges, Tensor mask, Tensor norm, Tensor norm_bias, Tensor project,"
    " Tensor project_bias, Tensor gate, Tensor gate_bias, Tensor product_norm, Tensor product_norm_bias, Tensor out,"
    " Tensor out_bias, Tensor out_gate, Tensor out_gate_bias) -> ()"
)
def _triangle_multiplication(edges: Tensor, mask: Tensor, *weights: Tensor) -> None:
    own = TriangleWeights(*(one.contiguous() for one in weights))
    length, channels, width = len(edges), len(own.product_norm), edges.shape[-1]
    require_shape("pair", edges, length, length, width)
    require_shape("mask", mask, length, length)
    planes = edges.new_empty(plane_floats(length, channels))
    given = (
        *(own.norm, own.norm_bias, _EPSILON, own.product_norm, own.product_norm_bias),
        *(own.project, own.project_bias, own.gate, own.gate_bias),
        *(packed(own.out), own.out_bias, packed(own.out_gate), own.out_gate_bias),
        *(width, channels, planes),
    )

    def run(half: int, x: Tensor, mask: Tensor, step: int = 0) -> None:
        share("triangle", length, half, x, *x.stride()[:2], length, mask, *mask.stride(), *given, step=step)

    run(0, edges.transpose(0, 1), mask.T)
    run(1, edges, mask, _step(length, channels, core_count()))
