"""Transition compiled for this processor: some places from norm to update while their hidden numbers are in cache."""

import torch
from torch import Tensor

from chaperonin.kernels.native.calls import in_place, packed, share, takes
from chaperonin.kernels.native.library import lacks as lacks
from chaperonin.kernels.transition.weights import TransitionWeights

NAME = "native"
NOTE = "compiled for this processor, in blocks of places and in place; CPU, fp32, no gradient"
_EPSILON = 1e-5
_PLACES = 56
"""That a core takes at a time: whole tiles, whose hidden numbers stay in its cache."""


def supports(x: Tensor, weights: TransitionWeights) -> bool:
    """fp32 on a CPU without gradient, in one piece."""
    return x.is_contiguous() and takes(x, *weights)


def transition(x: Tensor, weights: TransitionWeights) -> Tensor:
    """In place."""
    torch.ops.chaperonin.transition_(x, *weights)
    return x


@in_place(
    "transition_(Tensor(a!) x, Tensor norm, Tensor norm_bias, Tensor up, Tensor up_bias, Tensor down,"
    " Tensor down_bias) -> ()"
)
def _transition(
    x: Tensor, norm: Tensor, norm_bias: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor
) -> None:
    hidden, width = up.shape
    flat = x.view(-1, width)
    vectors = (norm.contiguous(), norm_bias.contiguous(), _EPSILON)
    products = (packed(up), up_bias.contiguous(), packed(down), down_bias.contiguous())

    share("transition", len(flat), flat, width, hidden, *vectors, *products, step=_PLACES)
