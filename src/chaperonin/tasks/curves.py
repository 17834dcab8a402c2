"""Plain arrays behind the report's figures: confusion matrix, ROC and precision-recall points, reliability."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_POINTS = 200


@dataclass(frozen=True)
class Curve:
    """Points of a curve, in order."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """Bins of confidence that hold predictions: their mean confidence, the share that is right, their number."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]


def confusion(truth: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.int64]:
    """Counts [truth, predicted] of items with known truth; probabilities [n, classes]."""
    count = probabilities.shape[1]
    known = truth >= 0
    cell = truth[known].astype(np.int64) * count + probabilities[known].argmax(axis=1)
    return np.bincount(cell, minlength=count * count).reshape(count, count)


def roc_curve(is_positive: NDArray[np.bool_], scores: NDArray[Any]) -> Curve:
    """False-positive rate against true-positive rate; no points where only one side is there."""
    from sklearn.metrics import roc_curve as points

    if is_positive.all() or not is_positive.any():
        return _no_curve()
    false_rate, true_rate, _ = points(is_positive, scores)
    return _thinned(false_rate, true_rate)


def precision_recall_curve(is_positive: NDArray[np.bool_], scores: NDArray[Any]) -> Curve:
    """Recall against precision, from recall 1 to 0; no points where only one side is there."""
    from sklearn.metrics import precision_recall_curve as points

    if is_positive.all() or not is_positive.any():
        return _no_curve()
    precision, recall, _ = points(is_positive, scores)
    return _thinned(recall, precision)


def reliability(truth: NDArray[Any], probabilities: NDArray[Any], bins: int = 10) -> Reliability:
    """How often predictions of each confidence are right: the likeliest class of one label, each class of many.

    Truth [n] of class numbers with probabilities [n, classes], or truth [n, classes] of 0 and 1. Bins have equal
    width; a confidence on an edge is in the lower one.
    """
    known = truth >= 0
    if truth.ndim == probabilities.ndim:
        likely = probabilities >= 0.5
        confidence = np.where(likely, probabilities, 1 - probabilities)[known]
        is_right = (likely == (truth == 1))[known]
    else:
        confidence = probabilities.max(axis=1)[known]
        is_right = (probabilities.argmax(axis=1) == truth)[known]
    number = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    held = count > 0
    sums = [np.bincount(number, weights=values, minlength=bins)[held] for values in (confidence, is_right)]
    return Reliability(sums[0] / count[held], sums[1] / count[held], count[held])


def _no_curve() -> Curve:
    return Curve(np.empty(0), np.empty(0))


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    """At most 200 of the points, the ends among them."""
    chosen = np.unique(np.linspace(0, len(x) - 1, _MOST_POINTS).round().astype(np.int64))
    return Curve(x[chosen], y[chosen])
