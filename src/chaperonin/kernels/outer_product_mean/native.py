"""Outer product mean compiled for this processor: the outer products of some pairs stay in a core's cache."""

import torch
from torch import Tensor

from chaperonin.kernels.native.calls import in_place, packed, require_shape, share, takes
from chaperonin.kernels.native.library import lacks as lacks
from chaperonin.kernels.outer_product_mean.few_sequences import are_few
from chaperonin.kernels.outer_product_mean.reference import EPSILON

NAME = "native"
NOTE = (
    "compiled for this processor, some pairs at a time, few sequences projected first; CPU, fp32, no gradient"
)

_FEW_COLUMNS = 8
"""Columns of pairs that a core takes at a time where sequences are few: each is projected on its own."""


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
    require_shape("pair", pair, length, length, len(out))
    require_shape("right", right, sequences, length, channels)
    require_shape("mask", mask, sequences, length)
    counts = EPSILON + mask.T @ mask
    sizes = (out_bias.contiguous(), sequences, channels, len(out))
    right = right.transpose(0, 1).contiguous()
    if are_few(sequences, channels, len(out)):
        left = left.transpose(0, 1).contiguous()
        weight = out.unflatten(1, (channels, channels)).permute(2, 1, 0).contiguous()  # d, c, width
        step = min(_FEW_COLUMNS, length)
        share("outer_product_mean_of_few", length, pair, left, right, counts, weight, *sizes, step=step)
    else:
        left = left.permute(1, 2, 0).contiguous()
        share("outer_product_mean", length, pair, left, right, counts, packed(out), *sizes)
