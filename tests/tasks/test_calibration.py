"""Temperatures that make probabilities true, and what they must not change."""

import numpy as np
import pytest

from chaperonin.errors import WeightsError
from chaperonin.tasks.calibration import (
    Calibration,
    calibration_error,
    confidences,
    reliability,
    uncalibrated,
)
from chaperonin.tasks.target import Target

BINARY = Target("sequence", "binary", ("S", "M"))
CLASSES = Target("sequence", "multiclass", ("A", "B", "C", "D"))
LABELS = Target("sequence", "multilabel", ("A", "B", "C"))
VALUES = Target("sequence", "regression", mean=3.0, deviation=2.0)


def drawn(probabilities: np.ndarray, seed: int = 0) -> np.ndarray:
    """One class per row, drawn with its probability."""
    chance = np.random.default_rng(seed).random((len(probabilities), 1))
    return (chance > probabilities.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("target", [BINARY, CLASSES], ids=["binary", "multiclass"])
def test_the_temperature_that_made_the_logits_wrong_is_found(target: Target, heat: float) -> None:
    true_logits = np.random.default_rng(1).normal(scale=1.5, size=(20_000, target.outputs))
    truth = drawn(target.probabilities(true_logits))
    calibration = Calibration.fit(true_logits * heat, truth, target)
    assert calibration.temperatures == pytest.approx((heat,), rel=0.05)
    np.testing.assert_allclose(
        calibration.apply(true_logits * heat, target), target.probabilities(true_logits), atol=0.02
    )
    assert calibration.error_before is not None and calibration.error_after is not None
    assert calibration.error_after < 0.02
    assert (calibration.error_before > 0.05) == (heat != 1.0)


def test_each_label_of_several_has_its_own_temperature() -> None:
    generator = np.random.default_rng(2)
    true_logits = generator.normal(scale=2, size=(20_000, 3))
    truth = (generator.random(true_logits.shape) < LABELS.probabilities(true_logits)).astype(np.int64)
    truth[::7] = -1  # not known: left out
    heats = np.array([0.5, 1.0, 4.0])
    calibration = Calibration.fit(true_logits * heats, truth, LABELS)
    assert calibration.temperatures == pytest.approx(tuple(heats), rel=0.06)


def test_calibration_changes_no_label_and_can_be_taken_back() -> None:
    logits = np.random.default_rng(3).normal(scale=3, size=(300, 4))
    for target, calibration in ((CLASSES, Calibration((2.5,))), (LABELS, Calibration((0.5, 1.0, 3.0)))):
        own = logits[:, : target.outputs]
        before, after = target.probabilities(own), calibration.apply(own, target)
        assert (before.argmax(axis=1) == after.argmax(axis=1)).all() or target is LABELS
        assert ((before >= 0.5) == (after >= 0.5)).all() or target is CLASSES
        np.testing.assert_allclose(
            uncalibrated(after, calibration.temperatures, target.kind), before, atol=1e-9
        )


def test_few_rows_that_are_all_right_do_not_make_a_model_certain() -> None:
    logits = np.array([[-2.0], [2.0], [3.0], [-1.0]])
    calibration = Calibration.fit(logits, np.array([0, 1, 1, 0]), BINARY)
    assert 0.5 < calibration.apply(np.array([1.0]), BINARY)[1] < 0.97


@pytest.mark.parametrize("truth", [np.empty(0, np.int64), np.full(5, -1)])
def test_nothing_known_changes_nothing(truth: np.ndarray) -> None:
    logits = np.zeros((len(truth), 1))
    assert Calibration.fit(logits, truth, BINARY) == Calibration()


def test_nine_of_ten_values_lie_within_the_interval() -> None:
    generator = np.random.default_rng(4)
    logits, noise = generator.normal(size=(4000, 1)), generator.normal(scale=0.7, size=4000)
    truth = VALUES.probabilities(logits) + noise
    truth[5] = np.nan
    half = Calibration.fit(logits[:2000], truth[:2000], VALUES).interval
    assert half is not None
    within = np.abs(truth[2000:] - VALUES.probabilities(logits[2000:])) <= half
    assert within.mean() == pytest.approx(0.9, abs=0.02)


def test_the_calibration_error_is_that_of_the_textbook() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    holds = np.array([True, True, True, False, True, False])
    # Two filled bins: |0.95 - 0.75| on four of six rows, |0.55 - 0.5| on two of six.
    assert calibration_error(confidence, holds) == pytest.approx(0.2 * 4 / 6 + 0.05 * 2 / 6)
    counts, sure, right = reliability(confidence, holds, bins=10)
    assert counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    assert (sure[9], right[9], sure[5], right[5]) == pytest.approx((0.95, 0.75, 0.55, 0.5))
    sure_of_all, right_of_all = confidences(np.array([[0.2, 0.8]]), np.array([0]), "binary")
    assert (sure_of_all.item(), right_of_all.item()) == (0.8, False)


def test_it_comes_back_from_json_and_refuses_what_is_none() -> None:
    calibration = Calibration((0.5, 1.0, 2.0), 0.2, 0.1)
    assert Calibration.from_json(calibration.as_json(), 3, "task.json") == calibration
    for stored in ({}, {"temperatures": [0.0]}, {"temperatures": ["x"]}, {"temperatures": [1.0, 2.0]}):
        with pytest.raises(WeightsError, match=r"task\.json"):
            Calibration.from_json(stored, 3, "task.json")
