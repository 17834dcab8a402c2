"""Triangle multiplication, the core of AlphaFold 2's algorithms 11 (outgoing edges) and 12 (incoming edges).

Contract: `triangle_multiplication(pair, mask, norm, project, gate, outgoing)` with pair representation
`[length, length, width]`, mask `[length, length]`, and weight and bias of the norm `[width]` and of projection and gate
`[2 * channels, width]` (left, then right) returns `[channels, length, length]`: with a and b the gated, masked halves,
the sum over k of a[i, k] · b[j, k] for outgoing edges, of a[k, j] · b[k, i] for incoming ones.
"""

from typing import cast

from torch import Tensor

from chaperonin.kernels.registry import Operation
from chaperonin.kernels.triangle_multiplication import planes, reference
from chaperonin.shapes import Float

operation = Operation("triangle_multiplication", order=("planes", "reference"))
for _module in (planes, reference):
    operation.register(_module)

Layer = tuple[Tensor, Tensor]
"""Weight and bias."""


def triangle_multiplication(
    pair: Float[Tensor, "length length width"],
    mask: Float[Tensor, "length length"],
    norm: Layer,
    project: Layer,
    gate: Layer,
    outgoing: bool,
) -> Float[Tensor, "channels length length"]:
    """Combine the two other edges of every triangle; the fastest body that this machine has."""
    return cast(Tensor, operation(pair, mask, *norm, *project, *gate, outgoing))
