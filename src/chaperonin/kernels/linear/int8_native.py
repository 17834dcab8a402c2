"""Linear product in 8-bit integers, compiled for processors that have no 8-bit dot product themselves.

The sums of products are exact, as those of `int8`. AVX2 adds the products of two neighbours in 16 bits, which hold them
where the magnitudes of the two bytes are 128 together at most: `prepare` rounds weights so, which costs them half a
bit. Any others are multiplied too, as the sum of two halves, in twice the time. Rounding the rows, scaling back, bias,
activation and residual are part of the same pass.
"""

from typing import Any

import torch
from torch import Tensor

from chaperonin.kernels.hardware import lacks_byte_products
from chaperonin.kernels.linear.reference import Activation
from chaperonin.kernels.linear.rounding import BLOCK_ROWS, RoundedWeight, round_weight
from chaperonin.kernels.native import library
from chaperonin.kernels.native.calls import in_place, require_shape, share, takes
from chaperonin.shapes import Float

NAME = "int8_native"
NOTE = (
    "8-bit weight, exact products of pairs of bytes, compiled for this processor; CPU, fp32 rows, no gradient"
)

MOST_INPUTS = 2**16
"""Products of a level and a byte of which 32 bits hold the sum: fewer than 2^31 / (255 · 127)."""

_FINISHES = ("none", "gelu", "swiglu", "geglu")
"""Numbered as in bytes.h: activations, then gates."""
_FIRST_GATE = 2
_PANEL = 16
_PANEL_BYTES = 2**17
"""Bytes of a weight that a core turns at a time and keeps in its cache for all rows."""


def lacks() -> str:
    """A processor that multiplies no bytes itself, AVX2, a C++ compiler."""
    if "why" not in _missing:
        faster = not lacks_byte_products()
        _missing["why"] = "this processor multiplies bytes itself" if faster else lacks_compiled()
    return _missing["why"]


_missing: dict[str, str] = {}
"""The answer, once it is known. A plain dict: torch.compile traces what reads it."""


def lacks_compiled() -> str:
    """Why there is no compiled product, whether or not it would be the fastest."""
    if missing := library.lacks():
        return missing
    return "" if library.library().chaperonin_multiplies_bytes() else "compiled 8-bit products need AVX2"


def prepare(weight: Float[Tensor, "outputs inputs"]) -> RoundedWeight:
    """Round each output channel to 8 bits so that products take one pass."""
    return round_weight(weight, paired=True)


def supports(
    x: Tensor, weight: Any, bias: Tensor | None, activation: Activation | None, residual: Tensor | None
) -> bool:
    """A rounded weight and fp32 rows on a CPU that need no gradient."""
    if not isinstance(weight, RoundedWeight) or not takes(x, bias, residual):
        return False
    return multiplies(weight.rounded, weight.scales, weight.sums)


def multiplies(rounded: Tensor, scales: Tensor, sums: Tensor) -> bool:
    """Whether products with these bytes are this body's."""
    types = (rounded.dtype, scales.dtype, sums.dtype) == (torch.int8, torch.float32, torch.int32)
    is_here = all(own.device.type == "cpu" for own in (rounded, scales, sums))
    return types and is_here and rounded.shape[1] <= MOST_INPUTS and not lacks()


def linear(
    x: Tensor,
    weight: RoundedWeight,
    bias: Tensor | None,
    activation: Activation | None,
    residual: Tensor | None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual."""
    result = x.new_empty(len(x), len(weight.rounded))
    write_product(result, x, weight.rounded, weight.scales, weight.sums, bias, residual, activation or "none")
    return result


@in_place(
    "linear_int8_(Tensor(a!) result, Tensor x, Tensor rounded, Tensor scales, Tensor sums, Tensor? bias,"
    " Tensor? residual, str activation) -> ()"
)
def write_product(
    result: Tensor,
    x: Tensor,
    rounded: Tensor,
    scales: Tensor,
    sums: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str,
) -> None:
    """Into `result` `[rows, columns]`, contiguous: as many columns as outputs, or with a gate half of them.

    Block of rows by block of rows, so that their levels are few.
    """
    outputs, inputs = rounded.shape
    finish = _FINISHES.index(activation)
    columns = outputs // 2 if finish >= _FIRST_GATE else outputs
    if finish >= _FIRST_GATE:
        require_shape("gated weight", rounded, 2 * columns, inputs)
    require_shape("result", result, len(x), columns)
    require_shape("x", x, len(x), inputs)
    for what, vector in (("scales", scales), ("sums", sums), ("bias", bias)):
        if vector is not None:
            require_shape(what, vector, outputs)
    if residual is not None:
        require_shape("residual", residual, len(x), columns)
    row = -(-inputs // _PANEL) * _PANEL
    row += _PANEL * (row % 1024 == 0)  # rows a power of two apart would lie on each other in the cache
    block = min(len(x), BLOCK_ROWS)
    levels = x.new_empty(block, row, dtype=torch.uint8)
    row_scales, lows = x.new_empty(2, block)
    panels = -(-columns // _PANEL)
    bytes_ = (2 if finish >= _FIRST_GATE else 1) * _PANEL * row
    at_once = max(1, min(_PANEL_BYTES // bytes_, panels // 8))
    weight = (rounded.contiguous(), inputs, scales.contiguous(), sums.contiguous())
    bias = None if bias is None else bias.contiguous()
    for start in range(0, len(x), BLOCK_ROWS):
        own = slice(start, start + BLOCK_ROWS)
        rows, more = x[own].contiguous(), None if residual is None else residual[own].contiguous()
        share("round_rows", len(rows), rows, inputs, levels, row, row_scales, lows)
        left = (levels, row, row_scales, lows, len(rows))
        share("times_bytes", panels, *left, *weight, bias, more, finish, outputs, result[own], step=at_once)
