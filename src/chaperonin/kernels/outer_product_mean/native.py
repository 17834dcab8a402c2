"""Outer product mean compiled for this processor: the outer products of some pairs stay in a core's cache."""

import torch
from torch import Tensor

from chaperonin.kernels.native.calls import in_place, packed, share, takes
from chaperonin.kernels.native.library import lacks as lacks
from chaperonin.kernels.outer_product_mean.reference import EPSILON

NAME = "native"
NOTE = "compiled for this processor, some pairs at a time and in place; CPU, fp32, no gradient"


def supports(pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor) -> bool:
    """fp32 on a CPU without gradient, the pairs in one piece."""
    return pair.is_contiguous() and takes(pair, left, right, mask, out, out_bias)


def outer_product_mean(
    pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor
) -> Tensor:
    """In place."""
    torch.ops.chaperonin.outer_product_mean_(pair, left, right, mask, out, out_bias)
    return pair


@in_place(
    "outer_product_mean_(Tensor(a!) pair, Tensor left, Tensor right, Tensor mask, Tensor out, Tensor out_bias) -> ()"
)
def _outer_product_mean(
    pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor
) -> None:
    sequences, length, channels = left.shape
    counts = EPSILON + mask.T @ mask
    sides = (left.permute(1, 2, 0).contiguous(), right.transpose(0, 1).contiguous())
    product = (packed(out), out_bias.contiguous(), sequences, channels, pair.shape[-1])

    share("outer_product_mean", length, pair, *sides, counts, *product)
