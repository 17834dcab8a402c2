"""Curves against scikit-learn's, with ties and labels that are not known."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from chaperonin.tasks.curves import curves, rate_curve, rates
from chaperonin.tasks.target import PAIR_CLASSES, Target

PAIRS = Target("pairs", "binary", PAIR_CLASSES)


def scored(count: int = 3000, digits: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties that know something of the rare positive items."""
    generator = np.random.default_rng(seed)
    positive = generator.random(count) < 0.1
    return (generator.normal(size=count) + positive).round(digits), positive


def same_areas(curve: dict, scores: np.ndarray, positive: np.ndarray) -> None:
    assert curve["auc"] == pytest.approx(reference.roc_auc_score(positive, scores), abs=1e-9)
    assert curve["pr_auc"] == pytest.approx(reference.average_precision_score(positive, scores), abs=1e-9)
    assert curve["prevalence"] == pytest.approx(positive.mean())


def test_rates_at_every_threshold_are_those_of_scikit_learn() -> None:
    scores, positive = scored()
    thresholds = np.unique(scores)[::-1]
    hits, others = np.sort(scores[positive]), np.sort(scores[~positive])
    false, true, precision = rates(hits, others, thresholds)
    expected = reference.roc_curve(positive, scores, drop_intermediate=False)[:2]
    np.testing.assert_allclose((np.append(0, false), np.append(0, true)), expected)
    expected = reference.precision_recall_curve(positive, scores)[:2]
    np.testing.assert_allclose((precision[::-1], true[::-1]), [own[:-1] for own in expected])


@pytest.mark.parametrize("digits", [0, 2, 9])
def test_a_thinned_curve_keeps_its_areas_and_has_no_gaps(digits: int) -> None:
    scores, positive = scored(20_000, digits)
    curve = rate_curve(scores, positive)
    same_areas(curve, scores, positive)
    points = np.array([curve[name] for name in ("false_positive_rate", "true_positive_rate")])
    exact = np.array(reference.roc_curve(positive, scores, drop_intermediate=False)[:2])
    for point in points.T:
        assert np.abs(exact - point[:, None]).max(axis=0).min() < 1e-5
    assert points.shape[1] <= 201 and points[:, 0].tolist() == [0, 0] and points[:, -1].tolist() == [1, 1]
    if digits:
        assert np.diff(points).max() < 0.03


def test_one_side_alone_has_no_curve() -> None:
    assert rate_curve(np.arange(3.0), np.ones(3, dtype=bool)) == {}
    assert rate_curve(np.arange(3.0), np.zeros(3, dtype=bool)) == {}


@pytest.mark.parametrize("classes", ["ST", "HEC"])
def test_curves_of_residues_leave_out_what_is_not_known(classes: str) -> None:
    generator = np.random.default_rng(3)
    target = Target("residue", "binary" if len(classes) == 2 else "multiclass", tuple(classes))
    truth = [generator.integers(-1, len(classes), size=length) for length in (40, 1, 90)]
    said = [generator.dirichlet(np.ones(len(classes)), len(own)).round(2) for own in truth]
    found = curves(target, truth, said)
    labels, shares = np.concatenate(truth), np.concatenate(said)
    labels, shares = labels[labels >= 0], shares[labels >= 0]
    assert found["count"] == len(labels) < 131
    assert list(found["classes"]) == (["T"] if classes == "ST" else ["H", "E", "C"])
    for name, curve in found["classes"].items():
        number = classes.index(name)
        same_areas(curve, shares[:, number], labels == number)
    bins = found["reliability"]
    right = [share for share in bins["right"] if share is not None]
    counts = np.array([count for count in bins["count"] if count])
    assert len(bins["count"]) == 10 and counts.sum() == len(labels)
    assert counts @ right / len(labels) == pytest.approx((shares.argmax(axis=1) == labels).mean(), abs=1e-4)
    json.dumps(found, allow_nan=False)


def test_some_values_of_residues_are_kept() -> None:
    truth = [np.append(np.arange(3000.0), np.nan), np.full(2, np.nan)]
    said = [np.arange(3001.0)[:, None] + 0.123456789, np.zeros((2, 1))]
    found = curves(Target("residue", "regression"), truth, said)
    values = {name: np.array(own) for name, own in found["values"].items()}
    assert found["count"] == 3000 and len(values["truth"]) == 2000
    assert values["truth"][[0, -1]].tolist() == [0, 2999] and np.diff(values["truth"]).max() <= 2
    np.testing.assert_allclose(values["predicted"], values["truth"] + 0.123456789, rtol=1e-5)


@pytest.mark.parametrize("has_classes", [True, False])
def test_curves_of_pairs_are_of_those_that_lie_apart(has_classes: bool) -> None:
    generator = np.random.default_rng(4)
    maps = [generator.random((length, length)).round(2) for length in (30, 4, 50)]
    pairs = [np.array([[0, 10], [28, 3], [5, 6]]), np.empty((0, 2), dtype=np.int64), np.array([[5, 40]])]
    said = [np.stack((1 - own, own), axis=2) for own in maps] if has_classes else maps
    found = curves(PAIRS, pairs, said)
    scores, positive = [], []
    for own, touching in zip(maps, pairs, strict=True):
        for first, second in zip(*np.triu_indices(len(own), 6), strict=True):
            scores.append(own[first, second])
            positive.append(sorted((first, second)) in np.sort(touching, axis=1).tolist())
    same_areas(found["classes"]["touching"], np.array(scores), np.array(positive))
    assert found["count"] == sum(found["reliability"]["count"]) == len(scores) and sum(positive) == 3
    json.dumps(found, allow_nan=False)


def test_nothing_is_kept_of_whole_proteins_or_where_nothing_is_known() -> None:
    binary = Target("sequence", "binary", ("S", "M"))
    assert curves(binary, [np.array(0), np.array(1)], [np.array([0.2, 0.8])] * 2) == {}
    residues = Target("residue", "binary", ("S", "T"))
    assert curves(residues, [], []) == {}
    assert curves(residues, [np.array([-1, -1])], [np.full((2, 2), 0.5)]) == {}
    assert curves(PAIRS, [np.array([[0, 1]])], [np.full((5, 5), 0.5)]) == {}
