"""Scores of pairs some rows at a time: the normalised pairs are never whole."""

import torch
from torch import Tensor

from chaperonin.kernels.pair_scores import reference
from chaperonin.kernels.pair_scores.weights import ScoreWeights
from chaperonin.kernels.slices import each_slice

NAME = "sliced"
NOTE = "rows in slices; any device, without gradient"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, weights: ScoreWeights) -> bool:
    """No gradient: slices are written into one result."""
    return not torch.is_grad_enabled()


def pair_scores(pair: Tensor, weights: ScoreWeights) -> Tensor:
    """Each slice by the formula."""
    scores = pair.new_empty(len(weights.project), *pair.shape[:2])

    def work(rows: slice) -> None:
        scores[:, rows] = reference.pair_scores(pair[rows], weights)

    each_slice(pair, pair[0].numel(), work)
    return scores
