"""Curves of the report: ROC, precision and recall, calibration; those of residues and pairs go to metrics.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.tasks.calibration import confidences, reliability
from chaperonin.tasks.metrics import SHORT_RANGE
from chaperonin.tasks.target import Target

Array = NDArray[np.float64]

BINS = 10
"""Of confidence, between 0 and 1."""
_EACH_SIDE = 100
"""Thresholds of a curve from the positive items, and as many from the negative ones."""
_MOST_VALUES = 2_000


def curves(target: Target, truth: Sequence[NDArray[Any]], said: Sequence[NDArray[Any]]) -> dict[str, Any]:
    """The part `curves` of metrics.json. Empty for whole proteins, whose probabilities predictions.csv holds.

    truth, said: one array per protein, as for `figures`. Residues without a known label are left out, and pairs
    nearer than 6 residues. `classes` has the `rate_curve` of each (of two classes, of the second); `reliability`
    the bins of how sure an answer was, of pairs how probable a contact; `values` some of a regression.
    """
    if target.level == "sequence" or not len(truth):
        return {}
    if target.level == "pairs":
        is_touching, scores = _far_pairs(truth, said)
        named = {target.classes[1]: (scores, is_touching)}
        return _of_classes(named, scores, is_touching) if len(scores) else {}
    known = [np.isfinite(own) if target.kind == "regression" else own >= 0 for own in truth]
    labels = np.concatenate([own[some] for own, some in zip(truth, known, strict=True)])
    shares = np.concatenate([own[some] for own, some in zip(said, known, strict=True)])
    if not len(labels):
        return {}
    if target.kind == "regression":
        return {"count": len(labels), "values": _values(labels, shares.reshape(-1))}
    places = range(len(target.classes)) if len(target.classes) > 2 else (1,)
    named = {target.classes[place]: (shares[:, place], labels == place) for place in places}
    return _of_classes(named, *confidences(shares, labels, target.kind))


def rate_curve(scores: Array, positive: NDArray[np.bool_]) -> dict[str, Any]:
    """Share and ROC area of the positive items, average precision, and up to 200 points of the curves.

    The first point is (0, 0, 1): nothing is called positive. Between two points, either rate changes by about one
    hundredth. Empty where all items are positive, or none.
    """
    if positive.all() or not positive.any():
        return {}
    hits, others = np.sort(scores[positive]), np.sort(scores[~positive])
    thresholds = np.unique(np.concatenate([_spread(hits), _spread(others)]))[::-1]
    false, true, precision = rates(hits, others, thresholds)
    below = np.searchsorted(others, hits, "left") + np.searchsorted(others, hits, "right")
    return {
        "prevalence": float(positive.mean()),
        "auc": float(below.mean() / 2 / len(others)),
        "pr_auc": float(rates(hits, others, hits)[2].mean()),
        "false_positive_rate": [0.0, *false.round(5).tolist()],
        "true_positive_rate": [0.0, *true.round(5).tolist()],
        "precision": [1.0, *precision.round(5).tolist()],
    }


def rates(hits: Array, others: Array, thresholds: Array) -> tuple[Array, Array, Array]:
    """False positive rate, true positive rate and precision where scores from the threshold up are called positive.

    hits, others: scores of the positive and of the negative items, ascending. No threshold is above all scores.
    """
    true = len(hits) - np.searchsorted(hits, thresholds)
    false = len(others) - np.searchsorted(others, thresholds)
    return false / len(others), true / len(hits), true / (true + false)


def _of_classes(
    named: dict[str, tuple[Array, NDArray[np.bool_]]], confidence: Array, holds: NDArray[np.bool_]
) -> dict[str, Any]:
    drawn = {name: rate_curve(scores, positive) for name, (scores, positive) in named.items()}
    counts, sure, right = reliability(confidence, holds, BINS)
    bins = {"count": counts.tolist(), "confidence": _known(sure), "right": _known(right)}
    drawn = {name: curve for name, curve in drawn.items() if curve}
    return {"count": len(holds), "classes": drawn, "reliability": bins}


def _far_pairs(
    truth: Sequence[NDArray[Any]], said: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.bool_], Array]:
    """Of every pair that counts, whether it touches and how probable that is said to be."""
    touching, scores = [], []
    for pairs, probabilities in zip(truth, said, strict=True):
        own = probabilities[..., 1] if probabilities.ndim == 3 else probabilities
        is_far = np.triu(np.ones(own.shape, dtype=bool), SHORT_RANGE)
        is_touching = np.zeros_like(is_far)
        if len(pairs):
            is_touching[pairs.min(axis=1), pairs.max(axis=1)] = True
        touching.append(is_touching[is_far])
        scores.append(own[is_far])
    return np.concatenate(touching), np.concatenate(scores)


def _values(truth: Array, predicted: Array) -> dict[str, list[float]]:
    """Evenly chosen, with six digits that count."""
    chosen = np.linspace(0, len(truth) - 1, min(len(truth), _MOST_VALUES)).astype(np.int64)
    both = {"truth": truth[chosen], "predicted": predicted[chosen]}
    return {name: [float(f"{value:.6g}") for value in values] for name, values in both.items()}


def _spread(values: Array) -> Array:
    """Some of the values, evenly by rank, the ends among them."""
    return values[np.linspace(0, len(values) - 1, min(len(values), _EACH_SIDE)).astype(np.int64)]


def _known(values: Array) -> list[float | None]:
    """None for a bin without an item."""
    return [round(value, 5) if value == value else None for value in values.tolist()]
