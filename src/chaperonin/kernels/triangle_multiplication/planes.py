"""Triangle multiplication on planes: projections are written channel by channel, as the last product reads them.

No tensor is turned around: the products that project give `[channels, pairs]` at once. Gates never leave the cache.
"""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from chaperonin.kernels.slices import slices

NAME = "planes"
NOTE = "projections as planes of channels, in slices; any device, without gradient"

_PLANES_BYTES = 96 << 20
"""Above this the channels come in parts, which takes up to a third longer: three at 512 residues, five at 700."""
_MOST_PARTS = 8


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
    """No gradient: the planes are filled in place."""
    needed = pair.requires_grad or project.requires_grad or gate.requires_grad
    return not (torch.is_grad_enabled() and needed)


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
    """Two planes of each channel, then their product; some channels at a time, so that few planes exist at once."""
    length, channels = len(pair), len(project) // 2
    product = pair.new_empty(channels, length, length)
    layers = [own.unflatten(0, (2, channels)) for own in (project, project_bias, gate, gate_bias)]
    parts = -(-2 * product.nbytes // _PLANES_BYTES)
    size = -(-channels // min(parts, _MOST_PARTS))
    for start in range(0, channels, size):
        own = slice(start, start + size)
        part = [layer[:, own].flatten(0, 1) for layer in layers]
        left, right = _planes(pair, mask, norm_weight, norm_bias, *part).chunk(2)
        torch.bmm(*((left, right.mT) if outgoing else (right.mT, left)), out=product[own])
    return product


def _planes(
    pair: Tensor,
    mask: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    project: Tensor,
    project_bias: Tensor,
    gate: Tensor,
    gate_bias: Tensor,
) -> Tensor:
    """Gated projections, one plane `[length, length]` for each row of `project`."""
    length = len(pair)
    planes = pair.new_empty(len(project), length, length)
    for rows in slices(length, (pair.shape[-1] + 2 * len(project)) * length * pair.element_size()):
        x = layer_norm(pair[rows], norm_weight.shape, norm_weight, norm_bias).flatten(0, 1).T
        opened = torch.addmm(gate_bias[:, None], gate, x).sigmoid_().mul_(mask[rows].flatten())
        own = torch.addmm(project_bias[:, None], project, x).mul_(opened)
        planes[:, rows] = own.unflatten(1, (-1, length))
    return planes
