"""Outer product mean some rows at a time: the outer products of a slice stay in the processor's cache."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from chaperonin.kernels.outer_product_mean.reference import EPSILON

NAME = "sliced"
NOTE = "rows in slices, so that outer products never fill memory; any device, without gradient"

_SLICE_BYTES = 16 << 20


def lacks() -> str:
    """Nothing."""
    return ""


def supports(left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor) -> bool:
    """No gradient: autograd would keep every slice."""
    return not (torch.is_grad_enabled() and (left.requires_grad or right.requires_grad or out.requires_grad))


def outer_product_mean(left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor) -> Tensor:
    """Two products for each slice, over sequences and over pairs of channels."""
    sequences, length, channels = left.shape
    result = left.new_empty(length, length, len(out))
    norm = EPSILON + mask.T @ mask
    rows = max(1, _SLICE_BYTES // (length * channels * channels * left.element_size()))
    flat = right.reshape(sequences, length * channels)
    for start in range(0, length, rows):
        own = left[:, start : start + rows]
        outer = own.reshape(sequences, -1).T @ flat
        outer = outer.view(-1, channels, length, channels).transpose(1, 2).flatten(-2)
        slot = result[start : start + rows]
        slot.copy_(linear(outer, out, out_bias)).div_(norm[start : start + rows, :, None])
    return result
