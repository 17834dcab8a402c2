import numpy as np
import pytest
import torch
from torch import nn

from chaperonin.errors import InputError
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks import FeatureItem, Item, ResidueProperty, Target

TARGET = Target("residue", "multiclass", ("C", "E", "H"))


def test_loss_is_that_of_torch_over_known_residues():
    labels = [TARGET.encode(text, len(text)) for text in ("HHE.C", "C..", "EEEHCC")]
    generator = np.random.default_rng(0)
    logits = [generator.normal(size=(len(own), 3)).astype(np.float32) for own in labels]
    task = ResidueProperty(TARGET)
    batch = task.collate([FeatureItem(*own) for own in zip(logits, labels, strict=True)])
    loss, metrics = task.loss(nn.Identity(), batch)
    truth = torch.from_numpy(np.concatenate(labels))
    joined = torch.from_numpy(np.concatenate(logits))
    assert batch.targets == 11
    torch.testing.assert_close(loss, nn.CrossEntropyLoss(ignore_index=-1, reduction="sum")(joined, truth))
    assert metrics["accuracy"] == (joined.argmax(dim=1) == truth).sum()
    for own, output in zip(logits, task.outputs(nn.Identity(), batch), strict=True):
        np.testing.assert_array_equal(output, own)


def test_labels_and_residues_that_only_fit_in_sum_are_refused():
    tokens = ESM_ALPHABET.indices("GAVL")
    items = [Item(tokens, np.array([0, 1, 2])), Item(tokens, np.array([0, 1, 2, 0, 1]))]
    with pytest.raises(InputError, match="3 labels for 4 residues"):
        ResidueProperty(TARGET).collate(items)
