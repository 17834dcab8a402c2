"""Triangle multiplication in place, some rows at a time, with one half of the projections as planes.

The right half is written channel by channel `[channels, length, length]`, as the product over the third residue reads
it. Then each slice of rows has all it needs: its left half, its products, its gates; it changes itself alone. So one
tensor of the size of the pair representation is needed besides, and no other one is ever turned around.
"""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from chaperonin.kernels.slices import each_slice
from chaperonin.kernels.triangle_multiplication.weights import TriangleWeights

NAME = "planes"
NOTE = "rows in slices, in place, beside one half of the projections; any device, without gradient"

LEAST_ROWS = 32
"""For fewer the product over the third residue waits for memory: it reads every plane for each slice."""

HOLES = 1.5
"""What slices leave in the heaps of the cores, as a share of them: a fit."""


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, mask: Tensor, weights: TriangleWeights, outgoing: bool) -> bool:
    """No gradient: the pair representation is overwritten."""
    return not torch.is_grad_enabled()


def triangle_multiplication(pair: Tensor, mask: Tensor, weights: TriangleWeights, outgoing: bool) -> Tensor:
    """Incoming edges of the pairs are outgoing ones of the transposed pairs."""
    edges, mask = (pair, mask) if outgoing else (pair.transpose(0, 1), mask.T)
    length, channels = len(edges), len(weights.product_norm)
    right = edges.new_empty(channels, length, length)

    def fill(rows: slice) -> None:
        right[:, rows] = _planes(_normed(edges[rows], weights), mask[rows], weights, slice(channels, None))

    def change(rows: slice) -> None:
        x = _normed(edges[rows], weights)
        product = torch.bmm(_planes(x, mask[rows], weights, slice(channels)), right.mT)
        # Each step lets go of what the one before it made.
        product = product.permute(1, 2, 0).contiguous()
        product = layer_norm(product, (channels,), weights.product_norm, weights.product_norm_bias)
        product = linear(product, weights.out, weights.out_bias)
        product *= linear(x, weights.out_gate, weights.out_gate_bias).sigmoid_()
        edges[rows] += product

    width = edges.shape[-1]
    each_slice(edges, length * (width + 2 * channels), fill)
    each_slice(edges, slice_floats(length, width, channels), change, LEAST_ROWS)
    return pair


def slice_floats(length: int, width: int, channels: int) -> int:
    """Numbers in between for one row: normalised, and two of left half, its gates, product, update and its gates."""
    return length * (width + 2 * max(channels, width))


def _normed(rows: Tensor, weights: TriangleWeights) -> Tensor:
    return layer_norm(rows, weights.norm.shape, weights.norm, weights.norm_bias)


def _planes(x: Tensor, mask: Tensor, weights: TriangleWeights, half: slice) -> Tensor:
    """Gated projections `[channels, rows, length]`: products written with the channels first."""
    turned = x.flatten(0, 1).T
    opened = torch.addmm(weights.gate_bias[half, None], weights.gate[half], turned).sigmoid_()
    opened *= mask.flatten()
    planes = torch.addmm(weights.project_bias[half, None], weights.project[half], turned).mul_(opened)
    return planes.unflatten(1, x.shape[:2])
