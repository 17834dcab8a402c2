"""AIDO.Protein (Sun et al. 2024, bioRxiv 2024.11.29.625425), published under the name fm4bio.

A pre-norm Transformer encoder over residues whose feed-forward is a mixture of experts: a router sends each token to
two of eight, so 4.6 of 16 billion parameters take part in its product. The dense 3B is the same without a mixture. All
sequences of a batch lie one after the other in one stream of tokens, each with its own `[SEP]` at the end.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from chaperonin.kernels.attention import attention
from chaperonin.kernels.segments import Segments
from chaperonin.layers.attention import Attention, Rotation
from chaperonin.layers.language import LanguageModel
from chaperonin.layers.linear import fused
from chaperonin.layers.rotary import inverse_frequencies, rotation
from chaperonin.models.aido.config import AIDOConfig
from chaperonin.models.aido.experts import FeedForward, MixtureOfExperts
from chaperonin.protein.alphabet import AIDO_ALPHABET, Alphabet
from chaperonin.shapes import Float, Int


class AIDO(LanguageModel):
    """AIDO.Protein with its language head; the family has no contact head."""

    alphabet: Alphabet = AIDO_ALPHABET

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.depth)])
        self.norm = config.new_norm()
        self.masked_language: MaskedLanguageHead | None = MaskedLanguageHead(config)
        self.contact = None

    def forward(
        self,
        tokens: Int[Tensor, " tokens"],
        segments: Segments,
        places: Int[Tensor, "tokens 2"] | None = None,
        structure: Float[Tensor, "tokens structure_width"] | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Representation of every token after the last norm, `[SEP]` included.

        places: number of the residue and row of the alignment of each token, for two-dimensional rotary positions.
        structure: what is added for the structure; zeros where a token has none.
        """
        x = self.embedding(tokens, segments, structure)
        rotation = self.rotation(segments, x, places)
        for layer in self.layers:
            x = layer(x, segments, rotation)
        return self.norm(x)

    def rotation(self, segments: Segments, x: Tensor, places: Tensor | None = None) -> Rotation:
        """Cosine and sine of every token's position, or None for learned positions."""
        config = self.config
        if config.positions == "learned":
            return None
        frequencies = inverse_frequencies(config.turned).to(x.device)
        if config.positions == "rotary":
            return rotation(segments.positions(x.device), frequencies, x.dtype)
        if places is None:
            places = functional.pad(segments.positions(x.device)[:, None], (0, 1))  # all in the first row
        cosine, sine = rotation(places.flatten(), frequencies, x.dtype)
        return cosine.unflatten(0, (-1, 2)).transpose(1, 2), sine.unflatten(0, (-1, 2)).transpose(1, 2)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Fresh weights for pre-training."""
        for name, parameter in self.named_parameters():
            initialise(name, parameter, generator)


def initialise(name: str, parameter: Tensor, generator: torch.Generator | None = None) -> None:
    """Fresh numbers for a parameter of this name: normal(0.02) matrices, zero biases, unit norms."""
    if name.endswith("norm.weight"):
        nn.init.ones_(parameter)
    elif name.endswith("bias"):
        nn.init.zeros_(parameter)
    else:
        nn.init.normal_(parameter, std=0.02, generator=generator)


class Embedding(nn.Module):
    """Tokens to vectors."""

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocabulary, config.width)
        self.position: nn.Embedding | None = None
        self.structure: nn.Linear | None = None
        if config.positions == "learned":
            self.position = nn.Embedding(config.max_positions, config.width)
        if config.structure_width:
            self.structure = nn.Linear(config.structure_width, config.width, bias=False)

    def forward(self, tokens: Tensor, segments: Segments, structure: Tensor | None) -> Tensor:
        """One vector per token."""
        x = self.word(tokens)
        if self.position is not None:
            if segments.longest > self.position.num_embeddings:
                # Past the table CUDA dies with a device assert; say it here.
                limit = self.position.num_embeddings
                raise ValueError(
                    f"{segments.longest} tokens in one sequence, learned positions end at {limit}"
                )
            x = x + self.position(segments.positions(tokens.device))
        if structure is None:
            return x
        if self.structure is None:
            raise ValueError("this model takes no structure")
        return x + self.structure(structure)


class Layer(nn.Module):
    """Pre-norm Transformer layer."""

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.residual_scale = (2 * config.depth) ** 0.5 if config.post_norm_residual else None
        self.attention_norm = config.new_norm()
        turns_halves = config.turned == config.head_dim
        self.attention = Attention(config.width, config.head_dim, config.bias, turns_halves)
        self.feed_forward_norm = config.new_norm()
        self.feed_forward = MixtureOfExperts(config) if config.experts else FeedForward(config)

    def forward(self, x: Tensor, segments: Segments, rotation: Rotation) -> Tensor:
        """x + attention, then x + feed-forward."""
        normed = self.attention_norm(x)
        # The query was scaled before it was turned, so the scores are not scaled again.
        attended = attention(*self.attention.heads(normed, rotation), segments, 1.0)
        x = fused(self.attention.out, attended.flatten(1), residual=self._kept(x, normed))
        del attended
        normed = self.feed_forward_norm(x)
        return self.feed_forward(normed, self._kept(x, normed))

    def _kept(self, x: Tensor, normed: Tensor) -> Tensor:
        """What a sublayer's result is added to."""
        return x if self.residual_scale is None else normed * self.residual_scale


class MaskedLanguageHead(nn.Module):
    """Representation to logits."""

    def __init__(self, config: AIDOConfig) -> None:
        super().__init__()
        self.dense: nn.Linear | None = None
        self.norm: nn.Module | None = None
        self.bias: nn.Parameter | None = None
        self.output: nn.Linear | None = None
        self.decoder: nn.Linear | None = None
        if config.transform:
            self.dense = nn.Linear(config.width, config.width)
            self.norm = config.new_norm()
            self.bias = nn.Parameter(torch.zeros(config.logits))
        if not config.tied:
            last = nn.Linear(config.width, config.logits, bias=False)
            self.decoder, self.output = (last, None) if config.transform else (None, last)

    def forward(self, hidden: Tensor, word: Float[Tensor, "vocabulary width"]) -> Tensor:
        """One product, with the embedding where it is tied; norm(gelu(dense(hidden))) before it where there is one."""
        if self.dense is not None and self.norm is not None:
            hidden = self.norm(functional.gelu(self.dense(hidden)))
        last = self.decoder or self.output
        return functional.linear(hidden, word if last is None else last.weight, self.bias)
