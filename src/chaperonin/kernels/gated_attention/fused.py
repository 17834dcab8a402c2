"""Gated attention by PyTorch's scaled_dot_product_attention, which keeps no scores, some rows at a time."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, scaled_dot_product_attention

from chaperonin.kernels.gated_attention.reference import not_a_key
from chaperonin.kernels.gated_attention.weights import AttentionWeights
from chaperonin.kernels.slices import add

NAME = "fused"
NOTE = "PyTorch's blocked attention with the pair bias as its mask; any device, with gradient"


def lacks() -> str:
    """Nothing: every supported PyTorch has it."""
    return ""


def supports(x: Tensor, mask: Tensor, pair_bias: Tensor | None, weights: AttentionWeights) -> bool:
    """Floating-point tensors."""
    return x.is_floating_point()


def gated_attention(x: Tensor, mask: Tensor, pair_bias: Tensor | None, weights: AttentionWeights) -> Tensor:
    """Without gradient in slices of rows and in place."""

    def update(rows: Tensor, mask: Tensor) -> Tensor:
        normal = layer_norm(rows, weights.norm.shape, weights.norm, weights.norm_bias)
        attended = _attended(linear(normal, weights.project), mask, pair_bias, weights.gate_bias)
        return linear(attended, weights.out, weights.out_bias)

    return add(x, update, row_floats(*x.shape[1:]), mask)


def row_floats(length: int, width: int) -> int:
    """Numbers in between for one row: normalised, projected, attended, the update."""
    return 7 * length * width


def _attended(projected: Tensor, mask: Tensor, pair_bias: Tensor | None, gate_bias: Tensor) -> Tensor:
    """One bias for all rows where nothing is masked; otherwise each row has its own. The gate is opened in place."""
    heads, head_dim = gate_bias.shape
    query, key, value, gate = projected.unflatten(-1, (4, heads, head_dim)).unbind(-3)
    bias = None if pair_bias is None else pair_bias[None]
    if not bool(mask.all()):
        missing = mask[:, None, None, :] == 0
        if bias is None:
            bias = projected.new_zeros(()).expand(1, 1, 1, 1)
        # Where no key is real all scores are 0: far from it, the backward pass would lose how many there are.
        none = missing.all(-1, keepdim=True)
        query = query.masked_fill(none, 0)
        bias = (
            bias.expand(len(mask), -1, -1, -1)
            .masked_fill(missing, not_a_key(bias.dtype))
            .masked_fill(none, 0)
        )
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    attended = scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2)
    if torch.is_grad_enabled():
        return (attended * (gate + gate_bias).sigmoid()).flatten(-2)
    return attended.mul_(gate.add_(gate_bias).sigmoid_()).flatten(-2)
