"""Contacts from attention (Rao et al. 2021, ICLR), without keeping the attention maps.

The published head stacks all layers × heads maps, makes each symmetric, corrects it by its average product (APC,
Dunn et al. 2008) and adds them up with learned weights. All of that but the sigmoid is linear in the map, save the
APC term (row sum × column sum / total), which needs only each map's sums. So one running sum of maps and one small
matrix of row sums per layer replace the stack.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chaperonin.kernels.segments import Segments
from chaperonin.shapes import Float


@dataclass
class ContactSums:
    """What is kept of the maps: per segment, the weighted sum of maps and of APC terms `[length, length]`."""

    maps: list[Tensor]
    corrections: list[Tensor]


class ContactHead(nn.Module):
    """Logistic regression on symmetrised, APC-corrected attention maps."""

    def __init__(self, depth: int, heads: int) -> None:
        super().__init__()
        self.depth = depth
        self.heads = heads
        self.regression = nn.Linear(depth * heads, 1)

    def start(self, segments: Segments, x: Tensor) -> ContactSums:
        """Empty sums for sequences of these lengths (without `<cls>` and `<eos>`)."""
        shapes = [(length - 2, length - 2) for length in segments.lengths]
        maps = [torch.zeros(shape, dtype=torch.float32, device=x.device) for shape in shapes]
        return ContactSums(maps, [torch.zeros_like(empty) for empty in maps])

    def observe(
        self,
        sums: ContactSums,
        layer: int,
        query: Float[Tensor, "tokens heads head_dim"],
        key: Float[Tensor, "tokens heads head_dim"],
        value: Float[Tensor, "tokens heads head_dim"],
        segments: Segments,
    ) -> Float[Tensor, "tokens heads head_dim"]:
        """Attend, one head and segment at a time, and add each map to the sums."""
        attended = torch.empty_like(value)
        weights = self.regression.weight[0].view(self.depth, self.heads)[layer].float()
        for number, (start, length) in enumerate(zip(segments.starts, segments.lengths, strict=True)):
            own = slice(start, start + length)
            rows = []
            for head in range(self.heads):
                scores = query[own, head] @ key[own, head].T
                attention = scores.float().softmax(dim=-1)
                attended[own, head] = attention.to(value.dtype) @ value[own, head]
                inner = attention[1:-1, 1:-1]
                sums.maps[number].add_(inner * weights[head])
                rows.append(inner.sum(0) + inner.sum(1))
            self._add_correction(sums.corrections[number], torch.stack(rows), weights)
        return attended

    def _add_correction(
        self, correction: Tensor, rows: Float[Tensor, "heads length"], weights: Float[Tensor, " heads"]
    ) -> None:
        # The symmetric map's row sums are its column sums, and its total is their sum.
        scaled = rows * (weights / rows.sum(dim=1))[:, None]
        correction.addmm_(scaled.T, rows)

    def finish(self, sums: ContactSums, segments: Segments) -> list[Float[Tensor, "length length"]]:
        """Probabilities from the sums."""
        bias = self.regression.bias.float()
        return [
            torch.sigmoid(maps + maps.T - correction + bias)
            for maps, correction in zip(sums.maps, sums.corrections, strict=True)
        ]
