"""What is trained on top of a language model: one small module for each level of label."""

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from chaperonin.errors import UsageError
from chaperonin.kernels.segments import Segments
from chaperonin.protein.alphabet import ESM_ALPHABET, Alphabet
from chaperonin.shapes import Float
from chaperonin.tasks.target import Target

Pooling = Literal["mean", "cls"]
Hidden = Literal["none", "tanh", "relu"]
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
PAIR_CHANNELS = 128
"""Of the hidden layer over pairs, where no other number is given."""

BLOCK = {"cpu": 2**20, "cuda": 2**25}
"""Activations of the pair head that exist at a time: what stays in a processor's cache, what fills a graphics
processor."""


class SequenceHead(nn.Module):
    """One vector for a protein, and a linear layer, or two with `inner` channels between them.

    As wide as the model, with `tanh` they are those of transformers' EsmClassificationHead, with `relu` those of
    ProtST.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        pooling: Pooling = "mean",
        hidden: Hidden = "none",
        inner: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.hidden = hidden
        inner = width if hidden == "none" else inner or width
        if hidden != "none":
            self.dense = nn.Linear(width, inner)
        self.dropout = nn.Dropout(dropout)
        self.out_proj = nn.Linear(inner, outputs)

    def pool(
        self, hidden: Float[Tensor, "tokens width"], segments: Segments, alphabet: Alphabet = ESM_ALPHABET
    ) -> Float[Tensor, "segments width"]:
        """Mean over the residues, or the row of `<cls>`, in whose place an alphabet without it has its end."""
        proteins = hidden.split(segments.lengths)
        if self.pooling == "cls":
            whole = -1 if alphabet.begins is None else 0
            return torch.stack([own[whole] for own in proteins])
        return torch.stack([own[alphabet.inner].mean(dim=0) for own in proteins])

    def forward(self, pooled: Float[Tensor, "proteins width"]) -> Float[Tensor, "proteins outputs"]:
        """Logits."""
        pooled = self.dropout(pooled)
        if self.hidden != "none":
            pooled = self.dropout(ACTIVATIONS[self.hidden](self.dense(pooled)))
        return self.out_proj(pooled)


class ResidueHead(nn.Module):
    """A linear layer over every residue, as in transformers' EsmForTokenClassification, or two."""

    def __init__(
        self, width: int, outputs: int, hidden: Hidden = "none", inner: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden = hidden
        inner = width if hidden == "none" else inner or width
        if hidden != "none":
            self.dense = nn.Linear(width, inner)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(inner, outputs)

    def forward(self, rows: Float[Tensor, "residues width"]) -> Float[Tensor, "residues outputs"]:
        """Logits."""
        rows = self.dropout(rows)
        if self.hidden != "none":
            rows = self.dropout(ACTIVATIONS[self.hidden](self.dense(rows)))
        return self.classifier(rows)


class PairHead(nn.Module):
    """A perceptron with one hidden layer over the two vectors of every pair of residues, the same both ways round.

    logit(i, j) is the mean of f(i, j) and f(j, i), where f(i, j) = out_proj(relu(dense([h_i; h_j]))). The first layer
    is linear, so its product is that of h_i plus that of h_j: 2·L products of a vector replace L². What is left are
    L²·hidden additions, done in blocks: no tensor grows with L² but the logits.
    """

    def __init__(self, width: int, hidden: int = PAIR_CHANNELS) -> None:
        super().__init__()
        self.width = width
        self.dense = nn.Linear(2 * width, hidden)
        self.out_proj = nn.Linear(hidden, 1)

    def forward(self, rows: Float[Tensor, "residues width"]) -> Float[Tensor, "residues residues"]:
        """Logits of all pairs of one protein."""
        # Of each hidden channel, the weights of h_i and those of h_j lie one after the other: one product makes both.
        both = nn.functional.linear(rows, self.dense.weight.reshape(-1, self.width)).unflatten(-1, (-1, 2))
        left, right = (both[..., 0] + self.dense.bias).contiguous(), both[..., 1].contiguous()
        scores = cast("Tensor", _PairSum.apply(_wide(left), _wide(right), _wide(self.out_proj.weight[0])))
        return (scores + scores.T) / 2 + self.out_proj.bias


class _PairSum(torch.autograd.Function):
    """Σ_k weight_k · relu(left_ik + right_jk) for all i and j, a block of rows at a time.

    Only the arguments are kept for backward, where it is decided anew which sums were positive.
    """

    @staticmethod
    def forward(
        context: Any,
        left: Float[Tensor, "rows hidden"],
        right: Float[Tensor, "columns hidden"],
        weight: Float[Tensor, " hidden"],
    ) -> Float[Tensor, "rows columns"]:
        context.save_for_backward(left, right, weight)
        # relu(a + b) = max(a, -b) + b: one pass over the block, and what is added does not depend on the row.
        below = -right
        with torch.autocast(left.device.type, enabled=False):
            result = (right @ weight).expand(len(left), -1).clone()
            block = _block(left, right)
            for rows in _blocks(left, right):
                own = block[: len(left[rows])]
                torch.maximum(left[rows, None], below, out=own)
                result[rows] += own @ weight
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Float[Tensor, "rows columns"]) -> tuple[Tensor, Tensor, Tensor]:
        left, right, weight = context.saved_tensors
        over_columns = _sum_where_positive(gradient, left, right)
        over_rows = _sum_where_positive(gradient.T.contiguous(), right, left)
        by_weight = (left * over_columns).sum(dim=0) + (right * over_rows).sum(dim=0)
        return over_columns * weight, over_rows * weight, by_weight


def _sum_where_positive(
    gradient: Float[Tensor, "rows columns"],
    left: Float[Tensor, "rows hidden"],
    right: Float[Tensor, "columns hidden"],
) -> Float[Tensor, "rows hidden"]:
    """Σ_j gradient_ij [left_ik + right_jk > 0]."""
    result, below = torch.empty_like(left), -right
    block = _block(left, right)
    for rows in _blocks(left, right):
        own = block[: len(left[rows])]
        torch.gt(left[rows, None], below, out=own)
        with torch.autocast(left.device.type, enabled=False):
            result[rows] = torch.bmm(gradient[rows, None], own)[:, 0]
    return result


def _rows_at_a_time(left: Tensor, right: Tensor) -> int:
    return max(1, min(len(left), BLOCK.get(left.device.type, 2**20) // right.numel()))


def _block(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(_rows_at_a_time(left, right), *right.shape)


def _blocks(left: Tensor, right: Tensor) -> list[slice]:
    step = _rows_at_a_time(left, right)
    return [slice(start, start + step) for start in range(0, len(left), step)]


def _wide(tensor: Tensor) -> Tensor:
    """At least fp32: under autocast the products before are bf16, the many sums after are not."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def build_head(
    target: Target,
    width: int,
    pooling: Pooling = "mean",
    hidden: Hidden = "none",
    inner: int = 0,
    dropout: float = 0.0,
) -> SequenceHead | ResidueHead | PairHead:
    """The head of a target, with fresh weights from torch's generator.

    Pooling is the sequence head's. inner: channels of the hidden layer, 0 for the usual ones; that of pairs always has
    such a layer, with relu, and no dropout.
    """
    if target.level == "sequence":
        return SequenceHead(width, target.outputs, pooling, hidden, inner, dropout)
    if target.level == "residue":
        return ResidueHead(width, target.outputs, hidden, inner, dropout)
    if dropout:
        raise UsageError("the head of pairs has no dropout", where="head.dropout", advice="Leave it out.")
    return PairHead(width, inner or PAIR_CHANNELS)
