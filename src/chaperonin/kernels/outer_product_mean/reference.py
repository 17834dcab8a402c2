"""Outer product mean as the algorithm says, every outer product written out."""

import torch
from torch import Tensor
from torch.nn.functional import linear

NAME = "reference"
NOTE = "the formula; any device and dtype"

EPSILON = 1e-3
"""Added to the number of sequences, as published."""


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor) -> bool:
    """Everything."""
    return True


def outer_product_mean(
    pair: Tensor, left: Tensor, right: Tensor, mask: Tensor, out: Tensor, out_bias: Tensor
) -> Tensor:
    """Differs from the paper: the bias is added before the division, and the mean is over real sequences."""
    outer = torch.einsum("sic,sjd->ijcd", left, right).flatten(-2)
    both = torch.einsum("si,sj->ij", mask, mask)
    return pair + linear(outer, out, out_bias) / (EPSILON + both)[..., None]
