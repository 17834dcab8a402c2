"""8-bit numbers: one scale per output channel of a weight, one scale and lowest value per row of x.

A weight takes the 255 levels from -127 to 127. Where two neighbours share theirs (`paired`), it takes about 180.
A row is spread over all 256 levels between its own lowest and highest value (an asymmetric quantisation), so a row
whose values all lie on one side of zero keeps its precision. With x ≈ scale · q + low:
x weightᵀ = scale · (q weight_qᵀ) · weight_scale + low · (row sums of weight).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from chaperonin.shapes import Float

BLOCK_ROWS = 512
"""Rows whose product is scaled, shifted and activated while it is still in the cache."""

_NARROWEST = 2.0**-12
"""Least spread of a row, as a share of its largest magnitude: keeps value / scale exact enough in fp32."""
_SMALLEST = 1e-30
"""Least spread of a row of zeros: its scale and the inverse of it are ordinary fp32 numbers."""


@dataclass(frozen=True)
class RoundedWeight:
    """A weight `[outputs, inputs]` rounded to 8 bits per output channel, in its plain order."""

    rounded: Tensor
    """int8 `[outputs, inputs]`."""
    scales: Tensor
    """fp32 `[outputs]`: weight ≈ scales · rounded."""
    sums: Tensor
    """int32 `[outputs]`: sums of `rounded` over the inputs."""

    @property
    def dtype(self) -> torch.dtype:
        """What a plain product with it is in."""
        return self.scales.dtype

    def plain(self) -> Float[Tensor, "outputs inputs"]:
        """The weight that the bytes stand for."""
        return widened(self.rounded, self.scales)


def round_weight(weight: Float[Tensor, "outputs inputs"], *, paired: bool = False) -> RoundedWeight:
    """Round each output channel to 8 bits with its own scale (largest magnitude → 127).

    paired: the largest sum of two magnitudes → 127, so that those of inputs 0 and 1, 2 and 3, … are 128 together at
    most, which is what 16 bits hold of the products of two such bytes with levels of rows. Steps are 1.4 times as wide
    for normally distributed weights.
    """
    weight = weight.detach().float()
    largest = weight.abs().amax(dim=1)
    if paired:
        together = weight[:, 0:-1:2].abs() + weight[:, 1::2].abs()
        largest = torch.maximum(largest, together.amax(dim=1)) if weight.shape[1] > 1 else largest
    scales = largest.clamp_min(torch.finfo(torch.float32).tiny) / 127
    rounded = (weight / scales[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    return RoundedWeight(rounded, scales, rounded.sum(dim=1, dtype=torch.int32))


def widened(rounded: Tensor, scales: Tensor) -> Tensor:
    """What bytes and their scales stand for."""
    return rounded * scales[:, None]


def quantize_rows(
    x: Float[Tensor, "rows inputs"],
) -> tuple[Tensor, Float[Tensor, "rows 1"], Float[Tensor, "rows 1"]]:
    """Rows as unsigned bytes with the scale and the lowest value of each: x ≈ scale · bytes + low.

    amin and amax apart are fifteen times as fast as aminmax over rows, and bytes by way of 16-bit integers six times
    as fast as directly (both are vectorised); adding a half and cutting off rounds, because nothing is negative.
    """
    low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
    narrowest = torch.maximum(low.abs(), high.abs()).mul_(_NARROWEST).clamp_min_(_SMALLEST)
    scale = torch.maximum(high - low, narrowest).div_(255)
    inverse = scale.reciprocal()
    levels = x * inverse
    levels.add_(0.5 - low * inverse)
    return levels.to(torch.int16).to(torch.uint8), scale, low
