"""A contact head without supervision: attention as it is, on a scale that makes contacts as rare as they are."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM
from chaperonin.protein.alphabet import ESM_ALPHABET

SEPARATION = 6
"""Residues apart in the chain from which on a pair counts (Rao et al. 2021)."""
CONTACTS_PER_RESIDUE = 1.0
"""Pairs above one half, for each residue of a protein."""
FLOOR = -4.0
"""Score of a pair with no attention beyond chance: a probability of 2 %."""


@torch.no_grad()
def calibrate_contacts(model: ESM, sequences: Sequence[NDArray[np.uint8]], first_layer: int = 0) -> None:
    """Set the contact head to the sum of all heads' corrected maps, from a layer on, scaled by what sequences show.

    No structure is used: the scale is where, over these sequences, as many pairs as residues lie above one half.
    """
    head = model.contact
    assert head is not None
    is_used = torch.arange(head.depth * head.heads) >= min(first_layer, head.depth - 1) * head.heads
    head.regression.weight.copy_(is_used[None].float() / is_used.sum())
    head.regression.bias.zero_()
    scores = torch.cat([_far_scores(model, residues) for residues in sequences])
    wanted = round(CONTACTS_PER_RESIDUE * sum(map(len, sequences)))
    threshold = scores.topk(min(wanted, len(scores))).values[-1].clamp(min=1e-6)
    head.regression.weight.mul_(
        -FLOOR / threshold
    )  # FLOOR + weight · threshold = 0, a probability of one half
    head.regression.bias.fill_(FLOOR)


def _far_scores(model: ESM, residues: NDArray[np.uint8]) -> Tensor:
    """Summed maps of one sequence, the pairs that are far apart in the chain."""
    tokens = torch.tensor([ESM_ALPHABET.cls, *residues.tolist(), ESM_ALPHABET.eos])
    probabilities = model.contacts(tokens, Segments([len(tokens)]))[0].double()
    rows, columns = torch.triu_indices(len(probabilities), len(probabilities), offset=SEPARATION)
    return torch.logit(probabilities[rows, columns], eps=1e-12).float()
