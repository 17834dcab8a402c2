"""Scores of pairs as the algorithms say."""

from torch import Tensor
from torch.nn.functional import layer_norm, linear

from chaperonin.kernels.pair_scores.weights import ScoreWeights

NAME = "reference"
NOTE = "the formula; any device and dtype"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, weights: ScoreWeights) -> bool:
    """Everything."""
    return True


def pair_scores(pair: Tensor, weights: ScoreWeights) -> Tensor:
    """All pairs at once."""
    normal = layer_norm(pair, weights.norm.shape, weights.norm, weights.norm_bias)
    return linear(normal, weights.project).permute(2, 0, 1)
