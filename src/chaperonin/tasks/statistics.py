"""Figures of merit for many weightings of the same proteins at once: each array has the weightings in front.

A bootstrap draw is a weighting by whole numbers, the plain figure the weighting by ones, so one formula serves both.
Where a figure is not defined it is nan; where the field's convention is 0 (precision without any prediction of the
class, Matthews correlation of constant predictions) it is 0, as in scikit-learn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]

_CHUNK = 1 << 22


@dataclass(frozen=True)
class Weighted:
    """Weights [draws, proteins] and the protein of each item (protein or residue)."""

    weights: Array
    owner: NDArray[np.int64]

    def sums(self, values: Array) -> Array:
        """Weighted sums [draws, columns] of values [items, columns]."""
        columns = values.shape[1]
        per_protein = np.zeros((self.weights.shape[1], columns))
        np.add.at(per_protein, self.owner, values)
        return self.weights @ per_protein

    def counts(self, places: NDArray[np.int64], size: int) -> Array:
        """Weighted number of items [draws, size] at each place."""
        return self.counts_of(places, self.owner, size)

    def counts_of(self, places: NDArray[np.int64], owner: NDArray[np.int64], size: int) -> Array:
        """The same for some of the items, whose proteins are given."""
        ones = np.ones(len(places))
        table = csr_matrix((ones, (places, owner)), shape=(size, self.weights.shape[1]))
        return np.asarray(table @ self.weights.T).T

    def chunks(self, width: int) -> list["Weighted"]:
        """The draws in pieces, so that arrays [draws, width] stay small."""
        pieces = -(-len(self.weights) * width // _CHUNK) or 1
        return [
            Weighted(some, self.owner)
            for some in np.array_split(self.weights, min(pieces, len(self.weights)))
        ]


def from_class_counts(
    hits: Array, actual: Array, predicted: Array, classes: Sequence[str]
) -> dict[str, Array]:
    """Figures from how often each class [draws, classes] is right, is true and is predicted.

    Averages leave out classes that never occur. With a thousand classes, whole confusion matrices would not fit.
    """
    total = actual.sum(axis=1)
    recall = _ratio(hits, actual, np.nan)
    precision = _ratio(hits, predicted, 0.0)
    f1 = _ratio(2 * hits, actual + predicted, 0.0)
    covariance = hits.sum(axis=1) * total - (actual * predicted).sum(axis=1)
    spread = (total**2 - (actual**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    figures = {
        "accuracy": _ratio(hits.sum(axis=1), total, np.nan),
        "balanced_accuracy": _mean(recall, actual > 0),
        "mcc": _ratio(covariance, np.sqrt(spread), 0.0),
        "f1": _mean(f1, actual + predicted > 0),
        "f1_weighted": _ratio((actual * f1).sum(axis=1), total, np.nan),
    }
    for number, name in enumerate(classes):
        figures[f"precision/{name}"] = precision[:, number]
        figures[f"recall/{name}"] = recall[:, number]
        figures[f"f1/{name}"] = f1[:, number]
    return figures


def from_label_counts(counts: Array, classes: Sequence[str]) -> dict[str, Array]:
    """Figures from true positives, false positives, false negatives and true negatives [draws, classes, 4]."""
    tp, fp, fn, tn = np.moveaxis(counts, 2, 0)
    occurs = tp + fp + fn > 0
    f1 = _ratio(2 * tp, 2 * tp + fp + fn, 0.0)
    precision, recall = _ratio(tp, tp + fp, 0.0), _ratio(tp, tp + fn, np.nan)
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    mcc = _ratio(tp * tn - fp * fn, np.sqrt(spread), 0.0)
    figures = {
        "f1": _mean(f1, occurs),
        "f1_micro": _ratio(2 * tp.sum(axis=1), (2 * tp + fp + fn).sum(axis=1), np.nan),
        "mcc": _mean(mcc, (tp + fn > 0) & (tn + fp > 0)),
    }
    for number, name in enumerate(classes):
        figures[f"precision/{name}"] = precision[:, number]
        figures[f"recall/{name}"] = recall[:, number]
        figures[f"f1/{name}"] = f1[:, number]
        figures[f"mcc/{name}"] = mcc[:, number]
    return figures


def ranking(
    weighted: Weighted, is_positive: NDArray[np.bool_], scores: Array, levels: int | None
) -> tuple[Array, Array]:
    """Area under the ROC curve (ties count half) and average precision, each [draws]; nan with one class only.

    With `levels`, scores are first put into so many quantile bins.
    """
    if is_positive.all() or not is_positive.any():
        undefined = np.full(len(weighted.weights), np.nan)
        return undefined, undefined
    place, size = places(scores, levels)
    areas, averages = [], []
    for some in weighted.chunks(size):
        every = some.counts(place, size)
        positive = some.counts_of(place[is_positive], some.owner[is_positive], size)
        negative = every - positive
        below = negative.cumsum(axis=1) - negative / 2
        all_positive, all_negative = positive.sum(axis=1), negative.sum(axis=1)
        areas.append(_ratio((positive * below).sum(axis=1), all_positive * all_negative, np.nan))
        hits = positive[:, ::-1].cumsum(axis=1)
        precision = _ratio(hits, every[:, ::-1].cumsum(axis=1), 0.0)
        average = _ratio((positive[:, ::-1] * precision).sum(axis=1), all_positive, np.nan)
        averages.append(np.where(all_negative > 0, average, np.nan))
    return np.concatenate(areas), np.concatenate(averages)


def from_values(weighted: Weighted, truth: Array, predicted: Array) -> dict[str, Array]:
    """Figures of predicted values; correlations are nan where either side is constant."""
    # Correlations do not change with the origin; near it, sums of squares keep their digits.
    x, y = truth - truth.mean(), predicted - truth.mean()
    error = predicted - truth
    columns = [np.ones_like(x), x, y, x * x, y * y, x * y, error * error, np.abs(error)]
    sums = weighted.sums(np.stack(columns, axis=1))
    n, sx, sy, sxx, syy, sxy, squared, absolute = sums.T
    spread = sxx - sx * sx / n
    return {
        "rmse": np.sqrt(squared / n),
        "mae": absolute / n,
        "spearman": _spearman(weighted, truth, predicted),
        "pearson": _correlation(n, sx, sy, sxx, syy, sxy),
        "r2": np.where(spread > _TINY * sxx, 1 - _ratio(squared, spread, np.nan), np.nan),
    }


def places(scores: Array, levels: int | None) -> tuple[NDArray[np.int64], int]:
    """Each score's place in ascending order, equal scores at one place, and how many places there are."""
    values, place = np.unique(scores, return_inverse=True)
    if levels is None or len(values) <= levels:
        return place.reshape(-1), len(values)
    edges = np.unique(np.quantile(scores, np.arange(1, levels) / levels))
    return np.searchsorted(edges, scores, side="right"), len(edges) + 1


_TINY = 1e-12


def _spearman(weighted: Weighted, truth: Array, predicted: Array) -> Array:
    sides = [places(truth, None), places(predicted, None)]
    found = []
    for some in weighted.chunks(2 * len(truth)):
        weight = some.weights[:, some.owner]
        ranks = []
        for place, size in sides:
            counts = some.counts(place, size)
            middle = counts.cumsum(axis=1) - counts / 2
            ranks.append(middle[:, place] - weight.sum(axis=1, keepdims=True) / 2)
        x, y = ranks
        sums = [weight.sum(axis=1)]
        sums += [(weight * value).sum(axis=1) for value in (x, y, x * x, y * y, x * y)]
        found.append(_correlation(*sums))
    return np.concatenate(found)


def _correlation(n: Array, sx: Array, sy: Array, sxx: Array, syy: Array, sxy: Array) -> Array:
    spread_x, spread_y = sxx - sx * sx / n, syy - sy * sy / n
    varies = (spread_x > _TINY * sxx) & (spread_y > _TINY * syy)
    product = np.sqrt(np.where(varies, spread_x * spread_y, 1.0))
    return np.where(varies, (sxy - sx * sy / n) / product, np.nan)


def _ratio(above: Array, below: Array, otherwise: float) -> Array:
    """Quotient, and `otherwise` where it would be over nothing."""
    is_defined = below > 0
    return np.where(is_defined, above / np.where(is_defined, below, 1.0), otherwise)


def _mean(values: Array, counted: NDArray[np.bool_]) -> Array:
    return _ratio(np.where(counted, values, 0.0).sum(axis=1), counted.sum(axis=1).astype(np.float64), np.nan)
