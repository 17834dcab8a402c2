"""Triangle multiplication as the algorithms say."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from chaperonin.kernels.triangle_multiplication.weights import TriangleWeights

NAME = "reference"
NOTE = "the formula; any device and dtype"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(pair: Tensor, mask: Tensor, weights: TriangleWeights, outgoing: bool) -> bool:
    """Everything."""
    return True


def triangle_multiplication(pair: Tensor, mask: Tensor, weights: TriangleWeights, outgoing: bool) -> Tensor:
    """Differs from the paper: for incoming edges the published weights have left and right the other way round."""
    own = weights
    x = layer_norm(pair, own.norm.shape, own.norm, own.norm_bias)
    opened = linear(x, own.gate, own.gate_bias).sigmoid() * mask[..., None]
    left, right = (linear(x, own.project, own.project_bias) * opened).chunk(2, dim=-1)
    product = (
        torch.einsum("ikc,jkc->ijc", left, right) if outgoing else torch.einsum("kjc,kic->ijc", left, right)
    )
    product = layer_norm(product, own.product_norm.shape, own.product_norm, own.product_norm_bias)
    update = linear(product, own.out, own.out_bias)
    return pair + update * linear(x, own.out_gate, own.out_gate_bias).sigmoid()
