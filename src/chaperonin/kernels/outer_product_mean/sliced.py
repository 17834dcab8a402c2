"""Outer product mean some rows at a time: the outer products of a slice stay in the processor's cache."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from chaperonin.kernels.outer_product_mean.reference import EPSILON
from chaperonin.kernels.slices import each_slice

NAME = "sliced"
NOTE = "rows in slices, so that outer products never fill memory; any device, without gradient"

LEAST_ROWS = 8
"""For fewer the product over sequences has few rows of its own."""


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor) -> bool:
    """No gradient: the pair representation is overwritten."""
    return not torch.is_grad_enabled()


def outer_product_mean(
    pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor
) -> Tensor:
    """Two products for each slice, over sequences and over pairs of channels."""
    sequences, length, channels = left.shape
    flat = right.reshape(sequences, length * channels)
    seen = mask.T

    def work(rows: slice) -> None:
        own = left[:, rows].reshape(sequences, -1).T @ flat
        own = own.view(-1, channels, length, channels).transpose(1, 2).flatten(-2)
        norm = EPSILON + seen[rows] @ mask
        pair[rows] += linear(own, out, out_bias).div_(norm[..., None])

    each_slice(pair, length * (2 * channels * channels + len(out)), work, LEAST_ROWS)
    return pair
