"""Scores of pairs compiled for this processor: written head by head, as attention reads them."""

import torch
from torch import Tensor

from chaperonin.kernels.native.calls import in_place, share, takes
from chaperonin.kernels.native.library import lacks as lacks
from chaperonin.kernels.pair_scores.weights import ScoreWeights

NAME = "native"
NOTE = "compiled for this processor; CPU, fp32, no gradient"
_EPSILON = 1e-5


def supports(pair: Tensor, weights: ScoreWeights) -> bool:
    """fp32 on a CPU without gradient; the pairs may be turned, their channels lie together."""
    return pair.stride(-1) == 1 and takes(pair, *weights)


def pair_scores(pair: Tensor, weights: ScoreWeights) -> Tensor:
    """Into one new tensor."""
    scores = pair.new_empty(len(weights.project), *pair.shape[:2])
    torch.ops.chaperonin.pair_scores_(scores, pair, *weights)
    return scores


@in_place("pair_scores_(Tensor(a!) scores, Tensor pair, Tensor norm, Tensor norm_bias, Tensor project) -> ()")
def _pair_scores(scores: Tensor, pair: Tensor, norm: Tensor, norm_bias: Tensor, project: Tensor) -> None:
    heads, width = project.shape
    weights = (norm.contiguous(), norm_bias.contiguous(), _EPSILON, project.contiguous(), heads)

    share(
        "pair_scores",
        len(pair),
        pair,
        *pair.stride()[:2],
        pair.shape[1],
        width,
        *weights,
        scores,
        scores.stride(0),
    )
