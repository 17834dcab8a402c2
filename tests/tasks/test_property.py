import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from chaperonin.errors import UsageError
from chaperonin.tasks import FeatureItem, SequenceProperty, Target, class_weights

CLASSES = ("a", "b", "c")


def batch_of(task: SequenceProperty, targets: np.ndarray):
    """Targets of proteins whose features are the logits themselves, with those logits."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(len(targets), task.target.outputs)).astype(np.float32)
    items = [FeatureItem(own, target) for own, target in zip(logits, targets, strict=True)]
    return torch.from_numpy(logits), task.collate_features(items)


@pytest.mark.parametrize("given", ["balanced", {"a": 0.25, "b": 4, "c": 1.5}])
def test_weighted_mean_is_that_of_torch(given):
    target = Target("sequence", "multiclass", CLASSES)
    labels = np.array([0, 2, 2, 1, 2, 0, 2, 2])
    weights = class_weights("multiclass", list(labels), given, CLASSES)
    logits, batch = batch_of(SequenceProperty(target, weights), labels)
    loss, _ = SequenceProperty(target, weights).loss(nn.Identity(), batch)
    expected = nn.CrossEntropyLoss(weight=weights)(logits, torch.from_numpy(labels))
    torch.testing.assert_close(loss / batch.targets, expected)
    # Cut in parts of any size, the sums still give torch's mean of the whole.
    parts = [SequenceProperty(target, weights).truth([FeatureItem(logits[0].numpy(), own)]) for own in labels]
    assert sum(part.targets for part in parts) == pytest.approx(batch.targets)


@pytest.mark.parametrize("given", ["none", "balanced"])
def test_binary_is_two_classes_of_torch_with_one_logit(given):
    target = Target("sequence", "binary", ("a", "b"))
    labels = np.array([0, 1, 1, 1, -1, 1, 0, 1])
    weights = class_weights("binary", list(labels), given, target.classes)
    logits, batch = batch_of(SequenceProperty(target, weights), labels)
    loss, metrics = SequenceProperty(target, weights).loss(nn.Identity(), batch)
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = nn.CrossEntropyLoss(weight=weights, ignore_index=-1)(two, torch.from_numpy(labels))
    torch.testing.assert_close(loss / batch.targets, expected)
    known = labels >= 0
    right = ((logits[:, 0].numpy() > 0) == labels)[known]
    each = np.ones(known.sum()) if weights is None else weights.numpy()[labels[known]]
    assert metrics["accuracy"].item() / batch.targets == pytest.approx((right * each).sum() / each.sum())


def test_multilabel_mean_is_that_of_torch_with_positive_weights():
    target = Target("sequence", "multilabel", CLASSES)
    labels = np.random.default_rng(1).integers(0, 2, (9, 3))
    weights = class_weights("multilabel", list(labels), "balanced", CLASSES)
    assert weights is not None
    items = [FeatureItem(np.zeros(3, dtype=np.float32), own) for own in labels]
    np.testing.assert_array_equal(SequenceProperty.weighted(target, items, "balanced").class_weights, weights)
    negatives, positives = (labels == 0).sum(axis=0), (labels == 1).sum(axis=0)
    np.testing.assert_allclose(weights.numpy(), negatives / positives)
    logits, batch = batch_of(SequenceProperty(target, weights), labels)
    loss, metrics = SequenceProperty(target, weights).loss(nn.Identity(), batch)
    expected = nn.BCEWithLogitsLoss(pos_weight=weights)(logits, torch.from_numpy(labels).float())
    torch.testing.assert_close(loss / batch.targets, expected)
    right = ((logits.numpy() > 0) == labels).mean()
    assert metrics["accuracy"].item() / batch.targets == pytest.approx(right)


def test_regression_is_the_mean_square_of_standardised_values():
    target = Target("sequence", "regression", mean=50.0, deviation=8.0)
    values = np.array([44.0, 61.5, np.nan, 50.0], dtype=np.float32)
    logits, batch = batch_of(SequenceProperty(target), values)
    loss, metrics = SequenceProperty(target).loss(nn.Identity(), batch)
    known = np.isfinite(values)
    predicted = target.probabilities(logits.numpy())
    assert batch.targets == 3
    mean_square = (((predicted - values)[known] / 8) ** 2).mean()
    assert loss.item() / batch.targets == pytest.approx(mean_square, rel=1e-5)
    error = np.abs(predicted - values)[known].mean()
    assert metrics["absolute_error"].item() / batch.targets == pytest.approx(error, rel=1e-5)


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0] * 7 + [1] * 2 + [2] * 11 + [-1] * 4)
    weights = class_weights("multiclass", [labels[:9], labels[9:]], "balanced", CLASSES)
    assert weights is not None
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels[labels >= 0])
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)


def test_a_class_without_a_label_weighs_one():
    weights = class_weights("multiclass", [np.array([0, 0, 2])], "balanced", CLASSES)
    assert weights is not None and weights[1] == 1
    several = class_weights("multilabel", [np.array([0, 1, 1]), np.array([0, 1, 0])], "balanced", CLASSES)
    assert several is not None
    np.testing.assert_array_equal(several.numpy(), [1, 1, 1])


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("regression", "balanced", "no sense for regression"),
        ("multiclass", {"a": 1, "b": 1}, "name a, b, the classes are a, b, c"),
        ("multiclass", {"a": 1, "b": 1, "c": 1, "d": 1}, "the classes are a, b, c"),
        ("multiclass", {"a": 1, "b": -1, "c": 1}, "the classes are a, b, c. Give each class a number"),
        ("multiclass", "even", "'even' are not known"),
    ],
)
def test_weights_that_make_no_sense_are_refused(kind, given, message):
    with pytest.raises(UsageError, match=message):
        class_weights(kind, [np.array([0, 1, 2])], given, CLASSES)


def test_none_weighs_nothing():
    assert class_weights("multiclass", [np.array([0, 1])]) is None
    assert class_weights("regression", [np.array([0.5])]) is None
