"""Triangle multiplication: AlphaFold 2's algorithms 11 (outgoing edges) and 12 (incoming edges), with what they are
added to.

Contract: `triangle_multiplication(pair, mask, weights, outgoing)` with pair representation `[length, length, width]`
and mask `[length, length]` returns the pair representation with the update added. With a and b the two gated, masked
halves of the projected pairs, the update is made from the sum over k of a[i, k] · b[j, k] for outgoing edges, of
a[k, j] · b[k, i] for incoming ones. Without gradient `pair` may be overwritten.
"""

from typing import cast

import torch
from torch import Tensor

from chaperonin.kernels.registry import Operation
from chaperonin.kernels.slices import most_bytes
from chaperonin.kernels.triangle_multiplication import native, planes, reference
from chaperonin.kernels.triangle_multiplication.weights import TriangleWeights as TriangleWeights
from chaperonin.shapes import Float

operation = Operation("triangle_multiplication", order=("native", "planes", "reference"))
for _module in (native, planes, reference):
    operation.register(_module)


def triangle_multiplication(
    pair: Float[Tensor, "length length width"],
    mask: Float[Tensor, "length length"],
    weights: TriangleWeights,
    outgoing: bool,
) -> Float[Tensor, "length length width"]:
    """Combine the two other edges of every triangle; the fastest body that this machine has."""
    return cast(Tensor, operation(pair, mask, weights, outgoing))


def held_bytes(length: int, width: int, device: str) -> int:
    """What a multiplication of `width` channels without gradient holds in between, in fp32, with slices as now."""
    if device != "cpu" or native.lacks():
        row = planes.slice_floats(length, width, width)
        slices = most_bytes(length, row, device, planes.LEAST_ROWS)
        return 4 * width * length**2 + slices + int(planes.HOLES * slices if device == "cpu" else 0)
    cores = torch.get_num_threads()
    return 4 * (native.plane_floats(length, width) + cores * native.core_floats(length, width, width, cores))
