"""What pairs add to the scores of attention: AlphaFold 2's algorithms 7, 13 and 14, the bias b.

Contract: `pair_scores(pair, weights)` with pair `[length, length, width]` returns `[heads, length, length]`: the pairs,
normalised, times one row of weights for each head.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.pair_scores import native, reference, sliced
from chaperonin.kernels.pair_scores.weights import ScoreWeights as ScoreWeights
from chaperonin.kernels.registry import Operation
from chaperonin.shapes import Float

operation = Operation("pair_scores", order=("native", "sliced", "reference"))
for _module in (native, sliced, reference):
    operation.register(_module)


def pair_scores(
    pair: Float[Tensor, "length length width"], weights: ScoreWeights
) -> Float[Tensor, "heads length length"]:
    """One number for each head and pair; the fastest body that this machine has."""
    return cast(Tensor, operation(pair, weights))
