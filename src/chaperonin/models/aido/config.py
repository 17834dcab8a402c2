"""Sizes and options of an AIDO.Protein."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from chaperonin.kernels.grouped_matmul.gates import Gate


@dataclass(frozen=True)
class AIDOConfig:
    """Sizes and options; the default is the 16B."""

    width: int = 2304
    """Channels per residue."""
    depth: int = 36
    """Transformer layers."""
    heads: int = 36
    """Attention heads per layer."""
    inner_width: int = 7680
    """Channels inside one expert, or inside the feed-forward of a dense model, after the gate."""
    experts: int = 8
    """Experts per layer; 0 is a dense model."""
    experts_per_token: int = 2
    """How many of them a token goes through."""
    gate: Gate = "swiglu"
    """Activation of the second half of the channels, which the first is multiplied with."""
    norm: Literal["rms", "layer"] = "rms"
    norm_epsilon: float = 1e-5
    bias: bool = True
    """Whether the linear layers, the router apart, add a bias."""
    post_norm_residual: bool = False
    """Whether what a sublayer is added to is its normalised input times √(2 depth) (the dense 3B), not the input."""
    positions: Literal["rotary", "rotary_2d", "learned"] = "rotary"
    """`rotary_2d` turns half of each head by the residue's number and half by the row of the alignment it stands in."""
    rotary_share: float = 1.0
    """Share of each head's channels that are turned."""
    max_positions: int = 2048
    """Rows of the learned table. Rotary positions have no limit."""
    vocabulary: int = 128
    """Rows of the embedding, of which the alphabet uses 44."""
    output_vocabulary: int = 0
    """Logits of a token; 0 is as many as the vocabulary. Of the structure tokenizer's models 512."""
    transform: bool = False
    """Whether the language head begins with a dense layer and a norm."""
    tied: bool = False
    """Whether the language head uses the embedding."""
    structure_width: int = 0
    """Channels of the structure vectors that are added to the embedding; 0: the model takes none."""

    @property
    def head_dim(self) -> int:
        """Channels per head."""
        return self.width // self.heads

    @property
    def wide(self) -> int:
        """Channels of each token that its feed-forward holds at once."""
        if not self.experts:
            return 3 * self.inner_width
        return self.experts_per_token * (self.inner_width + 2 * self.width)

    @property
    def logits(self) -> int:
        """Logits of a token."""
        return self.output_vocabulary or self.vocabulary

    @property
    def turned(self) -> int:
        """Channels that one angle per pair turns; of two axes, those of one of them."""
        axes = 2 if self.positions == "rotary_2d" else 1
        return int(self.head_dim // axes * self.rotary_share)

    def new_norm(self) -> nn.Module:
        """A norm over the channels."""
        make = nn.RMSNorm if self.norm == "rms" else nn.LayerNorm
        return make(self.width, eps=self.norm_epsilon)
