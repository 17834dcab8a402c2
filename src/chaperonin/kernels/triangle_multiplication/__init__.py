"""Triangle multiplication, the core of AlphaFold 2's algorithms 11 (outgoing edges) and 12 (incoming edges).

Contract: `triangle_multiplication(projected, gate, mask, outgoing)` with projected and gate
`[length, length, 2 * channels]` of the pair representation (left, then right) and mask `[length, length]` returns
`[length, length, channels]`: with a and b the gated, masked halves, the sum over k of a[i, k] · b[j, k] for outgoing
edges, of a[k, j] · b[k, i] for incoming ones.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.registry import Operation
from chaperonin.kernels.triangle_multiplication import reference
from chaperonin.shapes import Float

operation = Operation("triangle_multiplication", order=("reference",))
for _module in (reference,):
    operation.register(_module)


def triangle_multiplication(
    projected: Float[Tensor, "length length twice_channels"],
    gate: Float[Tensor, "length length twice_channels"],
    mask: Float[Tensor, "length length"],
    outgoing: bool,
) -> Float[Tensor, "length length channels"]:
    """Combine the two other edges of every triangle; the fastest body that this machine has."""
    return cast(Tensor, operation(projected, gate, mask, outgoing))
