"""Transition: AlphaFold 2's algorithms 9 and 15, with what it is added to.

Contract: `transition(x, weights)` with x `[..., width]` returns x with down(relu(up(norm(x)))) added, each place by
itself. Without gradient `x` may be overwritten.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.registry import Operation
from chaperonin.kernels.transition import native, reference, sliced
from chaperonin.kernels.transition.weights import TransitionWeights as TransitionWeights
from chaperonin.shapes import Float

operation = Operation("transition", order=("native", "sliced", "reference"))
for _module in (native, sliced, reference):
    operation.register(_module)


def transition(
    x: Float[Tensor, "*places width"], weights: TransitionWeights
) -> Float[Tensor, "*places width"]:
    """Two linear layers with a rectifier; the fastest body that this machine has."""
    return cast(Tensor, operation(x, weights))
