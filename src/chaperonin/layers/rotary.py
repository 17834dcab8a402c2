"""Rotary position embedding (Su et al. 2021, RoFormer), the half-split form of ESM-2."""

import torch
from torch import Tensor

from chaperonin.shapes import Float, Int


def inverse_frequencies(head_dim: int, base: float = 10000.0) -> Float[Tensor, " half"]:
    """Angle per position of each pair of channels: base^(-2i / head_dim), on the CPU.

    The device is named: arithmetic under a meta device would load PyTorch's compiler, seconds long.
    """
    return 1.0 / (base ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim))


def rotation(
    positions: Int[Tensor, " tokens"], frequencies: Float[Tensor, " half"], dtype: torch.dtype
) -> tuple[Float[Tensor, "tokens 1 half"], Float[Tensor, "tokens 1 half"]]:
    """Cosine and sine of each token's angles, computed in fp32, ready for `[tokens, heads, half]`."""
    angles = positions[:, None].float() * frequencies.float()
    return angles.cos().to(dtype)[:, None], angles.sin().to(dtype)[:, None]


def rotate(
    x: Float[Tensor, "tokens heads head_dim"],
    cosine: Float[Tensor, "tokens 1 *half"],
    sine: Float[Tensor, "tokens 1 *half"],
) -> Float[Tensor, "tokens heads head_dim"]:
    """Turn channel pairs (i, i + half) by the token's angles, channels beyond the angles stay; the result has x's type.

    Angles `[tokens, 1, 2, half]` are those of two axes: the first half of the channels turns by the first, the second
    by the second. Under autocast x may be bf16 and the angles fp32: wider queries beside bf16 values shut out the fast
    attention.
    """
    if cosine.dim() == 4:
        return _turn(x.unflatten(-1, (2, -1)), cosine, sine).flatten(-2)
    return _turn(x, cosine, sine)


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """The same over the last axis."""
    half = cosine.shape[-1]
    first, second, rest = x.split((half, half, x.shape[-1] - 2 * half), dim=-1)
    turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine, rest), dim=-1)
    return turned.to(x.dtype)
