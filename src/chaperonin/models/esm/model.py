"""ESM-2 (Lin et al. 2023, Science 379:1123) and ESM-1b (Rives et al. 2021, PNAS 118:e2016239118).

A pre-norm Transformer encoder over residues, with a masked-language head and a contact head. All sequences of a
batch lie one after the other in one stream of tokens, each with its own `<cls>` and `<eos>`: there is no padding.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from chaperonin.errors import WeightsError
from chaperonin.kernels.attention import attention
from chaperonin.kernels.segments import Segments
from chaperonin.layers.attention import Attention, Rotation
from chaperonin.layers.language import LanguageModel
from chaperonin.layers.linear import Linear, fused
from chaperonin.layers.rotary import inverse_frequencies, rotation
from chaperonin.models.esm.contacts import ContactHead
from chaperonin.protein.alphabet import ESM_ALPHABET, Alphabet
from chaperonin.shapes import Float, Int

TRAINED_MASK_RATIO = 0.15 * 0.8
"""Share of tokens that were `<mask>` in pre-training (15 % chosen, 80 % of them masked)."""


@dataclass(frozen=True)
class ESMConfig:
    """Shape of an ESM model. Every published size is one of these."""

    width: int = 320
    """Channels per residue."""
    depth: int = 6
    """Transformer layers."""
    heads: int = 20
    """Attention heads per layer."""
    inner_width: int = 1280
    """Channels inside the feed-forward (4 × width in every published model)."""
    positions: Literal["rotary", "learned"] = "rotary"
    """ESM-2 turns queries and keys by position, ESM-1b adds a learned vector."""
    max_positions: int = 1026
    """Rows of the learned table: 1,024 tokens and two unused rows. Rotary positions have no limit."""
    norm_embedding: bool = False
    """Whether a layer norm follows the embedding (ESM-1b)."""
    token_dropout: bool = True
    """Whether `<mask>` embeddings are zeroed and the rest scaled up, in evaluation too."""
    norm_epsilon: float = 1e-5

    wide: ClassVar[int] = 0
    """Channels of each token that its feed-forward holds at once; 0: it runs over blocks of rows."""

    @property
    def head_dim(self) -> int:
        """Channels per head."""
        return self.width // self.heads


class ESM(LanguageModel):
    """ESM-1b or ESM-2 with masked-language head and contact head."""

    alphabet: Alphabet = ESM_ALPHABET

    def __init__(self, config: ESMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.masked_language: MaskedLanguageHead | None = MaskedLanguageHead(config)
        self.contact: ContactHead | None = ContactHead(config.depth, config.heads)
        if config.positions == "rotary":
            # A parameter although never trained: some checkpoints hold these rounded to half precision,
            # and the published model is the one with the rounded values.
            frequencies = inverse_frequencies(config.head_dim)
            self.rotary_frequencies = nn.Parameter(frequencies, requires_grad=False)

    def forward(self, tokens: Int[Tensor, " tokens"], segments: Segments) -> Float[Tensor, "tokens width"]:
        """Representation of every token after the last norm, `<cls>` and `<eos>` included."""
        x = self.embedding(tokens, segments)
        rotation = self.rotation(segments, x)
        for layer in self.layers:
            x = layer(x, segments, rotation)
        return self.norm(x)

    def contacts(
        self, tokens: Int[Tensor, " tokens"], segments: Segments
    ) -> list[Float[Tensor, "length length"]]:
        """Probability that residues i and j touch (Cβ within 8 Å), per sequence, without `<cls>` and `<eos>`.

        Attention maps are summed as they appear (Rao et al. 2021): memory grows with one map, not with all layers.
        """
        if self.contact is None:
            raise WeightsError(
                "this checkpoint has no contact head",
                advice="Convert the published .pt together with its -contact-regression.pt.",
            )
        x = self.embedding(tokens, segments)
        rotation = self.rotation(segments, x)
        sums = self.contact.start(segments, x)
        for number, layer in enumerate(cast("list[Layer]", self.layers)):
            query, key, value = layer.attention.heads(layer.attention_norm(x), rotation)
            attended = self.contact.observe(sums, number, query, key, value, segments)
            x = layer.finish(x, attended)
        return self.contact.finish(sums, segments)

    def rotation(self, segments: Segments, x: Tensor) -> Rotation:
        """Cosine and sine of every token's position, or None for learned positions."""
        if self.config.positions == "learned":
            return None
        return rotation(segments.positions(x.device), self.rotary_frequencies, x.dtype)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Fresh weights for pre-training: normal(0.02) matrices, zero biases, unit norms."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)


class Embedding(nn.Module):
    """Tokens to vectors, with ESM's mask rescaling."""

    def __init__(self, config: ESMConfig) -> None:
        super().__init__()
        self.token_dropout = config.token_dropout
        self.word = nn.Embedding(len(ESM_ALPHABET), config.width)
        self.position: nn.Embedding | None = None
        self.norm: nn.LayerNorm | None = None
        if config.positions == "learned":
            self.position = nn.Embedding(config.max_positions, config.width)
        if config.norm_embedding:
            self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)

    def forward(self, tokens: Tensor, segments: Segments) -> Tensor:
        """One vector per token."""
        x = self.word(tokens)
        if self.token_dropout:
            x = x * self.mask_scale(tokens, segments).to(x.dtype)[:, None]
        if self.position is not None:
            self._check_length(segments)
            # The first row of the published table is unused and the second is padding's: tokens count from 2.
            x = x + self.position(segments.positions(tokens.device) + 2)
        return x if self.norm is None else self.norm(x)

    def mask_scale(self, tokens: Tensor, segments: Segments) -> Float[Tensor, " tokens"]:
        """0 at `<mask>`, elsewhere (1 - 0.12) / (1 - share of `<mask>` in the token's own segment)."""
        masked = tokens == ESM_ALPHABET.mask
        ids = segments.ids(tokens.device)
        lengths = segments.offsets(tokens.device).diff().float()
        counts = torch.zeros_like(lengths).index_add_(0, ids, masked.float())
        scale = (1 - TRAINED_MASK_RATIO) / (1 - counts / lengths)
        return scale[ids].masked_fill(masked, 0.0)

    def _check_length(self, segments: Segments) -> None:
        assert self.position is not None
        limit = self.position.num_embeddings - 2
        if segments.longest > limit:
            # Past the table CUDA dies with a device assert; say it here.
            raise ValueError(f"{segments.longest} tokens in one sequence, learned positions end at {limit}")


class Layer(nn.Module):
    """Pre-norm Transformer layer."""

    def __init__(self, config: ESMConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.attention = Attention(config.width, config.head_dim)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, segments: Segments, rotation: Rotation) -> Tensor:
        """x + attention, then x + feed-forward."""
        # The query was scaled before it was turned, as published, so the scores are not scaled again. No name is
        # given to query, key and value: they would outlive the scores and lie in memory beside the feed-forward.
        return self.finish(
            x, attention(*self.attention.heads(self.attention_norm(x), rotation), segments, 1.0)
        )

    def finish(self, x: Tensor, attended: Float[Tensor, "tokens heads head_dim"]) -> Tensor:
        """What follows the attention scores."""
        x = fused(self.attention.out, attended.flatten(1), residual=x)
        del attended
        return self.feed_forward(self.feed_forward_norm(x), x)


class FeedForward(nn.Module):
    """Two linear layers with an exact (erf) GELU between them."""

    def __init__(self, config: ESMConfig) -> None:
        super().__init__()
        self.up = Linear(config.width, config.inner_width)
        self.down = Linear(config.inner_width, config.width)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """down(gelu(up(x))) + residual."""
        return fused(self.down, fused(self.up, x, activation="gelu"), residual=residual)


class MaskedLanguageHead(nn.Module):
    """Representation to logits; the last product is tied to the word embedding."""

    def __init__(self, config: ESMConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.bias = nn.Parameter(torch.zeros(len(ESM_ALPHABET)))

    def forward(self, hidden: Tensor, word: Float[Tensor, "vocabulary width"]) -> Tensor:
        """norm(gelu(dense(hidden))) wordᵀ + bias."""
        x = self.norm(nn.functional.gelu(self.dense(hidden)))
        return nn.functional.linear(x, word, self.bias)
