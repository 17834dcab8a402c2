"""A language model and a head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chaperonin.data.batching import fill_up
from chaperonin.kernels.segments import Segments
from chaperonin.layers.language import LanguageModel
from chaperonin.shapes import Float, Int
from chaperonin.tasks.heads import SequenceHead
from chaperonin.tasks.target import Target

_STEP = 64
"""What the tokens of a batch in bf16 are made a multiple of, on the CPU."""
Logits = Tensor | list[Tensor]
"""Rows of logits; for pairs, one `[length, length]` for each protein."""


class Predictor(nn.Module):
    """Tokens to logits of a target."""

    def __init__(self, backbone: LanguageModel, head: nn.Module, target: Target) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.target = target

    def forward(self, tokens: Int[Tensor, " tokens"], segments: Segments) -> Logits:
        """Logits: `[segments, outputs]`, `[residues, outputs]` without ends, or a list of `[length, length]`."""
        # In bf16 the CPU compiles a product for every number of rows, and keeps it: there are few such numbers then.
        step = _STEP if tokens.device.type == "cpu" and torch.is_autocast_enabled("cpu") else 1
        hidden = self.backbone(*fill_up(tokens, segments, step, self.backbone.alphabet.pad))
        added = self.backbone.alphabet.added
        features = self.features(hidden[: segments.total], segments)
        return run_head(self.head, features, self.target, [length - added for length in segments.lengths])

    def features(
        self, hidden: Float[Tensor, "tokens width"], segments: Segments
    ) -> Float[Tensor, "rows width"]:
        """What the head sees: one row a protein, or one a residue."""
        if isinstance(self.head, SequenceHead):
            return self.head.pool(hidden, segments, self.backbone.alphabet)
        inner = self.backbone.alphabet.inner
        return torch.cat([own[inner] for own in hidden.split(segments.lengths)])


def run_head(
    head: nn.Module, features: Float[Tensor, "rows width"], target: Target, lengths: Sequence[int]
) -> Logits:
    """Logits from what the head sees; `lengths` are the residues of each protein."""
    if target.level == "pairs":
        return [head(own) for own in features.split(list(lengths))]
    return head(features)
