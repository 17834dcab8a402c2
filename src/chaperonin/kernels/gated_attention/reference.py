"""Gated attention as the algorithm says, every score written out."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear

from chaperonin.kernels.gated_attention.weights import AttentionWeights

NAME = "reference"
NOTE = "the formula; any device and dtype"


def not_a_key(dtype: torch.dtype) -> float:
    """The score of a masked key: what alphafold-colabfold clips its scores to, as far as the type goes."""
    return max(-1e8, torch.finfo(dtype).min / 2)


def lacks() -> str:
    """Nothing."""
    return ""


def supports(x: Tensor, mask: Tensor, pair_bias: Tensor | None, weights: AttentionWeights) -> bool:
    """Everything."""
    return True


def gated_attention(x: Tensor, mask: Tensor, pair_bias: Tensor | None, weights: AttentionWeights) -> Tensor:
    """Softmax over keys in fp32 at least."""
    heads, head_dim = weights.gate_bias.shape
    projected = linear(layer_norm(x, weights.norm.shape, weights.norm, weights.norm_bias), weights.project)
    query, key, value, gate = projected.unflatten(-1, (4, heads, head_dim)).unbind(-3)
    scores = torch.einsum("rqhd,rkhd->rhqk", query * head_dim**-0.5, key)
    if pair_bias is not None:
        scores = scores + pair_bias
    scores = scores.masked_fill(mask[:, None, None, :] == 0, not_a_key(scores.dtype))
    weighed = scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
    attended = torch.einsum("rhqk,rkhd->rqhd", weighed, value) * (gate + weights.gate_bias).sigmoid()
    return x + linear(attended.flatten(-2), weights.out, weights.out_bias)
