"""Transition as the algorithm says."""

from torch import Tensor
from torch.nn.functional import layer_norm, linear

from chaperonin.kernels.transition.weights import TransitionWeights

NAME = "reference"
NOTE = "the formula; any device and dtype"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(x: Tensor, weights: TransitionWeights) -> bool:
    """Everything."""
    return True


def transition(x: Tensor, weights: TransitionWeights) -> Tensor:
    """Every place at once."""
    own = weights
    hidden = linear(layer_norm(x, own.norm.shape, own.norm, own.norm_bias), own.up, own.up_bias).relu()
    return x + linear(hidden, own.down, own.down_bias)
