"""The text tower of ProtST: a BERT (PubMedBERT as published), run by transformers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chaperonin.shapes import Bool, Float, Int


@dataclass(frozen=True)
class TextBatch:
    """Texts as tokens, filled up to the longest."""

    tokens: Int[Tensor, "texts length"]
    is_token: Bool[Tensor, "texts length"]
    """False where a text is filled up."""
    is_word: Bool[Tensor, "texts length"]
    """Tokens that the text itself consists of: neither `[CLS]` nor `[SEP]`, nor filled up."""

    def to(self, device: torch.device) -> "TextBatch":
        """The same batch on a device."""
        return TextBatch(self.tokens.to(device), self.is_token.to(device), self.is_word.to(device))


def build_text_tower(config: Mapping[str, Any]) -> nn.Module:
    """A BERT without pooler, as its part of `config.json` says; transformers is imported here and nowhere before.

    It has parameters only: the tables of numbers 0, 1, 2 … that transformers keeps are passed by `run_text_tower`.
    """
    from transformers import BertConfig, BertModel

    values = {**config, "attn_implementation": "sdpa"}
    tower = BertModel(BertConfig(**values), add_pooling_layer=False)
    for name in list(tower.embeddings._buffers):
        delattr(tower.embeddings, name)
    return tower


def run_text_tower(tower: nn.Module, batch: TextBatch) -> Float[Tensor, "texts length text_width"]:
    """Vector of every token."""
    return tower(
        input_ids=batch.tokens,
        attention_mask=batch.is_token.long(),
        token_type_ids=torch.zeros_like(batch.tokens),
        position_ids=torch.arange(batch.tokens.shape[1], device=batch.tokens.device)[None],
    ).last_hidden_state
