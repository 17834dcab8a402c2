"""The fusion module of ProtST: residues and words attend to themselves and to each other (Xu et al. 2023, section 3.2).

Only pre-training uses it, to predict masked residues from the text and masked words from the protein.
"""

import torch
from torch import Tensor, nn

from chaperonin.kernels.segments import Segments
from chaperonin.shapes import Bool, Float


class Fusion(nn.Module):
    """Layers of cross attention, each followed by batch norm and ReLU on both sides."""

    def __init__(self, width: int, heads: int, depth: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList([CrossAttention(width, heads) for _ in range(depth)])
        self.protein_norms = nn.ModuleList([BatchNorm(width) for _ in range(depth)])
        self.text_norms = nn.ModuleList([BatchNorm(width) for _ in range(depth)])

    def forward(
        self,
        residues: Float[Tensor, "residues width"],
        segments: Segments,
        words: Float[Tensor, "texts length width"],
        is_token: Bool[Tensor, "texts length"],
    ) -> tuple[Float[Tensor, "residues width"], Float[Tensor, "texts length width"]]:
        """Residues and words of protein i with text i; `segments` are residues alone, without ends.

        Unlike the published code, batch norm does not count what is filled up (it makes a difference in training).
        """
        for layer, protein_norm, text_norm in zip(
            self.layers, self.protein_norms, self.text_norms, strict=True
        ):
            residues, words = layer(residues, segments, words, is_token)
            residues = torch.relu(protein_norm(residues))
            normal = torch.zeros_like(words)
            normal[is_token] = torch.relu(text_norm(words[is_token]))
            words = normal
        return residues, words


class CrossAttention(nn.Module):
    """Each side attends to both: the mean of two softmax attentions, whose scores are not scaled, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.protein = Projections(width)
        self.text = Projections(width)

    def forward(
        self, residues: Tensor, segments: Segments, words: Tensor, is_token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Updated residues, and updated words, of which those filled up are 0."""
        queries, keys, values = (self._heads(part) for part in self.protein(residues))
        word_queries, word_keys, word_values = (self._heads(part) for part in self.text(words))
        updated: list[Tensor] = []
        updated_words = torch.zeros_like(words)
        for number, (start, length) in enumerate(zip(segments.starts, segments.lengths, strict=True)):
            own, real = slice(start, start + length), is_token[number]
            both = ((keys[own], values[own]), (word_keys[number, real], word_values[number, real]))
            updated.append(self._mean(queries[own], both))
            updated_words[number, real] = self._mean(word_queries[number, real], both)
        return torch.cat(updated), updated_words

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))

    def _mean(self, query: Tensor, both: tuple[tuple[Tensor, Tensor], ...]) -> Float[Tensor, "rows width"]:
        first = query.transpose(0, 1)
        found = [
            nn.functional.scaled_dot_product_attention(
                first, key.transpose(0, 1), value.transpose(0, 1), scale=1.0
            )
            for key, value in both
        ]
        return (found[0] + found[1]).transpose(0, 1).flatten(1) / 2


class Projections(nn.Module):
    """Query, key and value, without biases."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three products."""
        return self.query(x), self.key(x), self.value(x)


class BatchNorm(nn.Module):
    """Batch norm over rows whose running mean and variance are tensors of the checkpoint like all others."""

    MOMENTUM, EPSILON = 0.1, 1e-5
    RUNNING = ("mean", "variance")
    """Parameters that follow the batches without a gradient."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.mean = nn.Parameter(torch.zeros(width), requires_grad=False)
        self.variance = nn.Parameter(torch.ones(width), requires_grad=False)

    def forward(self, rows: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Normalised by the batch in training, which the running figures follow; by these otherwise."""
        if not self.training:
            return nn.functional.batch_norm(
                rows, self.mean, self.variance, self.weight, self.bias, eps=self.EPSILON
            )
        with torch.no_grad():
            variance, mean = torch.var_mean(rows.float(), dim=0)
            self.mean.lerp_(mean, self.MOMENTUM)
            self.variance.lerp_(variance, self.MOMENTUM)
        return nn.functional.batch_norm(
            rows, None, None, self.weight, self.bias, training=True, eps=self.EPSILON
        )
