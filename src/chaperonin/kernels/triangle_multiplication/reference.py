"""Triangle multiplication as the algorithms say."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

NAME = "reference"
NOTE = "the formula; any device and dtype"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(
    pair: Tensor,
    mask: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    project: Tensor,
    project_bias: Tensor,
    gate: Tensor,
    gate_bias: Tensor,
    outgoing: bool,
) -> bool:
    """Everything."""
    return True


def triangle_multiplication(
    pair: Tensor,
    mask: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    project: Tensor,
    project_bias: Tensor,
    gate: Tensor,
    gate_bias: Tensor,
    outgoing: bool,
) -> Tensor:
    """Differs from the paper: for incoming edges the published weights have left and right the other way round."""
    x = layer_norm(pair, norm_weight.shape, norm_weight, norm_bias)
    gated = linear(x, project, project_bias) * linear(x, gate, gate_bias).sigmoid() * mask[..., None]
    left, right = gated.chunk(2, dim=-1)
    return (
        torch.einsum("ikc,jkc->cij", left, right) if outgoing else torch.einsum("kjc,kic->cij", left, right)
    )
