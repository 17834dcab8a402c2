"""Gated attention compiled for this processor: one row after the other from norm to update, in a core's cache."""

import torch
from torch import Tensor

from chaperonin.kernels.gated_attention.weights import AttentionWeights
from chaperonin.kernels.native.calls import in_place, packed, padded, require_shape, share, takes
from chaperonin.kernels.native.library import lacks as lacks

NAME = "native"
NOTE = "compiled for this processor, each row in one pass and in place; CPU, fp32, no gradient"
_EPSILON = 1e-5


def supports(x: Tensor, mask: Tensor, pair_bias: Tensor | None, weights: AttentionWeights) -> bool:
    """fp32 on a CPU without gradient; x may be turned, its channels lie together."""
    return x.stride(-1) == 1 and takes(x, mask, pair_bias, *weights)


def gated_attention(x: Tensor, mask: Tensor, pair_bias: Tensor | None, weights: AttentionWeights) -> Tensor:
    """In place."""
    torch.ops.chaperonin.gated_attention_(x, mask, pair_bias, *weights)
    return x


def core_floats(length: int, width: int, heads: int) -> int:
    """Numbers that each core holds in between."""
    return length * 5 * width + padded(length) * (width // heads + 14)


@in_place(
    "gated_attention_(Tensor(a!) x, Tensor mask, Tensor? pair_bias, Tensor norm, Tensor norm_bias, Tensor project,"
    " Tensor gate_bias, Tensor out, Tensor out_bias) -> ()"
)
def _gated_attention(
    x: Tensor,
    mask: Tensor,
    pair_bias: Tensor | None,
    norm: Tensor,
    norm_bias: Tensor,
    project: Tensor,
    gate_bias: Tensor,
    out: Tensor,
    out_bias: Tensor,
) -> None:
    heads, head_dim = gate_bias.shape
    require_shape("x", x, *x.shape[:2], heads * head_dim)
    require_shape("mask", mask, *x.shape[:2])
    if pair_bias is not None:
        require_shape("pair_bias", pair_bias, heads, x.shape[1], x.shape[1])
    pair_bias = None if pair_bias is None else pair_bias.contiguous()
    vectors = (norm.contiguous(), norm_bias.contiguous(), _EPSILON)
    products = (packed(project), gate_bias.contiguous(), packed(out), out_bias.contiguous())

    given = (x, *x.stride()[:2], x.shape[1], mask, *mask.stride(), pair_bias)
    share("gated_attention", len(x), *given, *vectors, *products, heads, head_dim)
