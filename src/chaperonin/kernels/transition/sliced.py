"""Transition some places at a time and in place: the hidden numbers of a slice stay in the processor's cache."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from chaperonin.kernels.slices import add
from chaperonin.kernels.transition.weights import TransitionWeights

NAME = "sliced"
NOTE = "places in slices, in place; any device, without gradient"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(x: Tensor, weights: TransitionWeights) -> bool:
    """No gradient: x is overwritten."""
    return not torch.is_grad_enabled()


def transition(x: Tensor, weights: TransitionWeights) -> Tensor:
    """In between for each place: normalised, hidden, the update."""
    own = weights

    def update(rows: Tensor) -> Tensor:
        hidden = linear(layer_norm(rows, own.norm.shape, own.norm, own.norm_bias), own.up, own.up_bias)
        return linear(hidden.relu_(), own.down, own.down_bias)

    return add(x.reshape(-1, x.shape[-1]), update, 2 * x.shape[-1] + len(own.up)).view(x.shape)
