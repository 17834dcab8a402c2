"""Where attention looks before anything is learned."""

import torch

from chaperonin.errors import UsageError
from chaperonin.models.esm import ESM

PAIRS = 8
"""Channel pairs of a head that hold the direction: the fastest ones, which tell neighbours apart."""
PEAK_SCORE = 32.0
"""Attention score at the place looked at, before anything is learned; 2.6 more than beside it."""


@torch.no_grad()
def look_at_neighbours(model: ESM, layers: int) -> None:
    """Let the heads of the first layers begin by looking 1, -1, 2, -2, … residues ahead; one more head, no change.

    Rotary positions turn channel pair i of query and key by position · f_i, so constant query and key score
    Σ a_i cos(f_i (m - n) + φ_i) between places m and n. With φ_i = f_i · offset in the query's bias, all cosines are 1
    at n = m + offset and out of step elsewhere. The biases are trained like any other.
    """
    config = model.config
    if layers and config.positions != "rotary":
        raise UsageError(
            "neighbour_layers needs rotary positions", where="neighbour_layers", advice="Set it to 0."
        )
    half = config.head_dim // 2
    pairs = min(PAIRS, half)
    frequencies = model.rotary_frequencies[:pairs]
    # The query is scaled by head_dim^-1/2, so |query| |key| of each pair makes up for it.
    size = (PEAK_SCORE / pairs * config.head_dim**0.5) ** 0.5
    for number in range(layers):
        project = model.layers.get_submodule(f"{number}.attention.project")
        query, key = (
            project.get_parameter(f"{name}.bias").view(config.heads, config.head_dim)
            for name in ("query", "key")
        )
        for head in range(config.heads):
            offset = (head // 2 + 1) * (1 if head % 2 == 0 else -1)
            query[head, :pairs] = size * (frequencies * offset).cos()
            query[head, half : half + pairs] = size * (frequencies * offset).sin()
            key[head, :pairs] = size
