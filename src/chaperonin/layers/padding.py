"""The border for people who bring padded batches: models see packed streams only."""

from collections.abc import Callable

from torch import Tensor

from chaperonin.kernels.segments import Segments
from chaperonin.shapes import Bool, Float, Int


def run_padded(
    model: Callable[[Tensor, Segments], Tensor],
    tokens: Int[Tensor, "batch length"],
    mask: Bool[Tensor, "batch length"],
) -> Float[Tensor, "batch length width"]:
    """Representation of a padded batch; rows where `mask` is False (padding) are zero.

    Each row's real tokens come first. Their lengths are read from the device, so this waits for it.
    """
    lengths = mask.sum(dim=1).tolist()
    packed = model(tokens[mask], Segments(lengths))
    padded = packed.new_zeros(*tokens.shape, packed.shape[-1])
    padded[mask] = packed
    return padded
