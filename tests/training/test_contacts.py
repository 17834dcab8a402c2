import numpy as np
import torch

from chaperonin.kernels.segments import Segments
from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.training.contacts import SEPARATION, calibrate_contacts


def test_as_many_far_pairs_as_residues_are_above_one_half():
    model = ESM(ESMConfig(width=32, depth=3, heads=2, inner_width=64))
    model.initialise(torch.Generator().manual_seed(0))
    generator = np.random.default_rng(0)
    proteins = [generator.integers(4, 24, length).astype(np.uint8) for length in (40, 70, 100)]
    calibrate_contacts(model, proteins, first_layer=1)
    above = 0
    for residues in proteins:
        tokens = torch.tensor([ESM_ALPHABET.cls, *residues.tolist(), ESM_ALPHABET.eos])
        with torch.no_grad():
            probabilities = model.contacts(tokens, Segments([len(tokens)]))[0]
        above += int((probabilities.triu(SEPARATION) > 0.5).sum())
    # The pair that sets the threshold lies on it, and rounding decides its side.
    assert abs(above - 210) <= 1
    weights = model.contact.regression.weight.view(3, 2)
    assert torch.equal(weights[0], torch.zeros(2))
    assert len(set(weights[1:].flatten().tolist())) == 1
