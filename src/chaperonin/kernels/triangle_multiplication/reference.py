"""Triangle multiplication as the algorithms say."""

import torch
from torch import Tensor

NAME = "reference"
NOTE = "the formula; any device and dtype"


def lacks() -> str:
    """Nothing."""
    return ""


def supports(projected: Tensor, gate: Tensor, mask: Tensor, outgoing: bool) -> bool:
    """Everything."""
    return True


def triangle_multiplication(projected: Tensor, gate: Tensor, mask: Tensor, outgoing: bool) -> Tensor:
    """Differs from the paper: for incoming edges the published weights have left and right the other way round."""
    left, right = (projected * gate.sigmoid() * mask[..., None]).chunk(2, dim=-1)
    if outgoing:
        return torch.einsum("ikc,jkc->ijc", left, right)
    return torch.einsum("kjc,kic->ijc", left, right)
