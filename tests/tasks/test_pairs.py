import numpy as np
import pytest
import torch
from torch import nn

from chaperonin.models.esm import ESM, ESMConfig
from chaperonin.protein.alphabet import ESM_ALPHABET
from chaperonin.tasks import FeatureItem, Item, PairHead, Predictor, ResiduePairs, Target, class_weights
from chaperonin.tasks.target import PAIR_CLASSES

TARGET = Target("pairs", "binary", PAIR_CLASSES)


class Products(nn.Module):
    """Stands for a head: logits are products of the features."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows @ rows.T


@pytest.mark.parametrize("separation", [1, 4])
def test_loss_is_that_of_every_pair_once(separation):
    generator = np.random.default_rng(0)
    lengths, touching = (9, 3, 12), ("1-9 2-3 3-8", "", "12-1 4-8")
    features = [generator.normal(size=(length, 5)).astype(np.float32) for length in lengths]
    targets = [TARGET.encode(text, length) for text, length in zip(touching, lengths, strict=True)]
    task = ResiduePairs(TARGET, separation=separation)
    batch = task.collate([FeatureItem(*own) for own in zip(features, targets, strict=True)])
    loss, metrics = task.loss(Products(), batch)
    logits, truth = [], []
    for own, pairs in zip(features, targets, strict=True):
        listed = {tuple(pair) for pair in pairs.tolist()}
        for first in range(len(own)):
            for second in range(first + separation, len(own)):
                logits.append(own[first] @ own[second])
                truth.append(float((first, second) in listed))
    logits, truth = torch.tensor(np.array(logits)), torch.tensor(truth)
    assert batch.targets == len(truth)
    torch.testing.assert_close(
        loss, nn.BCEWithLogitsLoss(reduction="sum")(logits, truth), rtol=1e-5, atol=1e-5
    )
    assert metrics["accuracy"] == ((logits > 0) == truth.bool()).sum()


def test_balanced_weights_count_pairs():
    item = Item(ESM_ALPHABET.indices("GAVLIM"), TARGET.encode("1-6 1-2", 6))
    # There are fifteen pairs, and two of them touch; ten are two or more apart, and one of them touches.
    weights = ResiduePairs.weighted(TARGET, [item], "balanced").class_weights
    assert weights is not None
    np.testing.assert_allclose(weights, [15 / (2 * 13), 15 / (2 * 2)])
    labels = ResiduePairs(TARGET, separation=2).labels(item)
    nearer = class_weights("binary", [labels], "balanced", TARGET.classes)
    assert nearer is not None
    np.testing.assert_allclose(nearer.numpy(), [10 / (2 * 9), 10 / 2])


def test_a_head_learns_which_residues_touch():
    """Cysteines touch each other: a law that the head can only learn from both residues of a pair."""
    torch.manual_seed(0)
    texts = ["MKCTAYCIAKQC", "GCAVLCW", "WCYHHDECRKKS"]
    pairs = [
        [
            (first, second)
            for first in range(len(text))
            for second in range(first + 1, len(text))
            if text[first] == text[second] == "C"
        ]
        for text in texts
    ]
    items = [
        Item(ESM_ALPHABET.indices(text), np.array(own).reshape(-1, 2))
        for text, own in zip(texts, pairs, strict=True)
    ]
    backbone = ESM(ESMConfig(width=32, depth=1, heads=4, inner_width=64))
    predictor = Predictor(backbone, PairHead(32, 16), TARGET)
    task = ResiduePairs(TARGET)
    batch = task.collate(items)
    optimizer = torch.optim.Adam(predictor.parameters(), lr=1e-2)
    for _ in range(60):
        loss, metrics = task.loss(predictor, batch)
        optimizer.zero_grad()
        (loss / batch.targets).backward()
        optimizer.step()
    assert metrics["accuracy"] == batch.targets
