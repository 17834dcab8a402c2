"""How good predictions are: one set of figures for each kind of target, and their intervals over proteins."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.tasks.statistics import (
    Array,
    Weighted,
    from_class_counts,
    from_label_counts,
    from_values,
    ranking,
)
from chaperonin.tasks.target import Kind, Level

Many = Sequence[NDArray[Any]] | NDArray[Any]

SHORT_RANGE, LONG_RANGE = 6, 24
"""Residues between the two of a pair: the nearest that counts, and the nearest of long range."""
PAIR_RANGES = (("", SHORT_RANGE), ("beyond 6 ", SHORT_RANGE + 1), ("long ", LONG_RANGE))
"""How figures of pairs begin, and the nearest that count for them; xTrimoPGLM's contacts are more than 6 apart."""
THRESHOLD = 0.5
"""Probability from which a multi-label class is predicted."""
SMALLER_IS_BETTER = ("rmse", "mae")
"""Figures of which the lowest is the best."""
RANKED = ("auc", "pr_auc", "spearman", "pearson")
"""Figures that compare scores of different proteins: only those of one model are on one scale."""
_LEVELS = 4096
"""Quantile bins of scores in bootstrap draws; up to so many different scores areas are exact."""


def metrics(
    kind: Kind,
    level: Level,
    truth: Many,
    probabilities: Many,
    classes: Sequence[str] = (),
    folds: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """Figures by name, of those that are defined; what is not known (-1, nan) is left out.

    Sequence level: truth [n], or [n, classes] of 0 and 1; probabilities [n, classes] (two of them for binary),
    or values [n]. Residue level: for each protein one such array; the figures are over all residues. Pairs:
    for each protein the touching pairs [pairs, 2] from 0, and probabilities [L, L]; means over proteins.
    Averages over classes are unweighted and leave out classes that do not occur. `auc` and `pr_auc` of several
    classes compare each with the rest; of two, the second is the positive one.

    folds: of each protein the number of the model that spoke of it. RANKED are then means over the folds in which
    they are defined, weighted by proteins: together, models that say different constants would rank the proteins.
    """
    figures = _figures(kind, level, truth, probabilities, classes, None, folds)
    found = {name: float(value[0]) for name, value in figures.items() if np.isfinite(value[0])}
    if len(truth) and level != "pairs" and kind != "regression":
        found |= {
            f"support/{name}": float(n)
            for name, n in zip(classes, _support(kind, truth, len(classes)), strict=True)
        }
    return found


def figure_names(kind: Kind, level: Level, classes: Sequence[str] = ()) -> list[str]:
    """Names of all figures that there are for such a target, support aside."""
    truth: Many = np.zeros((1, len(classes)) if kind == "multilabel" else 1)
    said: Many = np.zeros(1 if kind == "regression" else (1, len(classes)))
    if level == "pairs":
        truth, said = [np.zeros((0, 2), dtype=np.int64)], [np.zeros((1, 1))]
    return list(_figures(kind, "pairs" if level == "pairs" else "sequence", truth, said, classes, None))


def bootstrap(
    kind: Kind,
    level: Level,
    truth: Many,
    probabilities: Many,
    classes: Sequence[str] = (),
    draws: int = 1000,
    seed: int = 0,
    folds: NDArray[np.int64] | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % interval of each figure of `metrics`: proteins are drawn with replacement, residues with theirs.

    Draws in which a figure is not defined are left out of its interval.
    """
    count = len(truth)
    if count == 0:
        return {}
    generator = np.random.default_rng(seed)
    weights = np.stack(
        [np.bincount(generator.integers(count, size=count), minlength=count) for _ in range(draws)]
    )
    figures = _figures(kind, level, truth, probabilities, classes, weights.astype(np.float64), folds)
    intervals = {}
    for name, values in figures.items():
        defined = values[np.isfinite(values)]
        if len(defined):
            low, high = np.percentile(defined, [2.5, 97.5])
            intervals[name] = (float(low), float(high))
    return intervals


def undefined(kind: Kind, level: Level, truth: Many, classes: Sequence[str] = ()) -> list[str]:
    """Notes about figures that `metrics` leaves out, or averages over fewer classes, and why."""
    if len(truth) == 0:
        return ["there are no examples to judge by"]
    if level == "pairs":
        empty = sum(len(pairs) == 0 for pairs in truth)
        return [f"{empty:,} proteins without a touching pair are left out"] if empty else []
    flat = _flat(truth)
    if kind == "regression":
        known = flat[np.isfinite(flat)]
        return ["all values are equal: no correlation"] if len(np.unique(known)) < 2 else []
    one_sided = [
        str(classes[number])
        for number, (is_known, is_positive) in enumerate(_sides(kind, flat, len(classes)))
        if len(np.unique(is_positive[is_known])) < 2
    ]
    if not one_sided:
        return []
    return [f"no auc and pr_auc for {', '.join(one_sided)}: none of the examples, or all, are of the class"]


@dataclass(frozen=True)
class _Flat:
    """Known items of all proteins, one after the other."""

    truth: NDArray[Any]
    scores: Array
    weighted: Weighted


def _figures(
    kind: Kind,
    level: Level,
    truth: Many,
    probabilities: Many,
    classes: Sequence[str],
    weights: Array | None,
    folds: NDArray[np.int64] | None = None,
) -> dict[str, Array]:
    """Every figure for each weighting [draws, proteins]; without weights, for one of ones."""
    if len(truth) == 0:
        return {}
    levels = None if weights is None else _LEVELS
    if weights is None:
        weights = np.ones((1, len(truth)))
    if level == "pairs":
        return _pair_figures(truth, probabilities, weights)
    together = _pooled(kind, level, truth, probabilities, classes, weights, levels)
    numbers = np.unique([] if folds is None else folds)
    if len(numbers) < 2:
        return together
    apart = []
    for number in numbers:
        own = np.flatnonzero(folds == number)
        truths, said = _taken(truth, own), _taken(probabilities, own)
        some = weights[:, own]
        apart.append((some.sum(axis=1), _pooled(kind, level, truths, said, classes, some, levels)))
    return together | {name: _mean_over(apart, name) for name in RANKED if name in together}


def _taken(arrays: Many, numbers: NDArray[np.int64]) -> Many:
    return arrays[numbers] if isinstance(arrays, np.ndarray) else [arrays[number] for number in numbers]


def _mean_over(folds: Sequence[tuple[Array, dict[str, Array]]], name: str) -> Array:
    """Mean of a figure [draws] over the folds, each with its weight [draws], in which it is defined."""
    values = np.stack([figures.get(name, np.full(len(weight), np.nan)) for weight, figures in folds])
    weights = np.where(np.isfinite(values), np.stack([weight for weight, _ in folds]), 0.0)
    total = weights.sum(axis=0)
    return np.where(total > 0, (weights * np.nan_to_num(values)).sum(axis=0) / np.maximum(total, 1), np.nan)


def _pooled(
    kind: Kind,
    level: Level,
    truth: Many,
    probabilities: Many,
    classes: Sequence[str],
    weights: Array,
    levels: int | None,
) -> dict[str, Array]:
    """Every figure over all proteins, as if one model had spoken of them."""
    flat = _items(level, truth, probabilities, weights)
    if kind == "multilabel":
        return _multilabel(flat, classes, levels)
    is_known = np.isfinite(flat.truth) if kind == "regression" else flat.truth >= 0
    owner = flat.weighted.owner[is_known]
    known = _Flat(flat.truth[is_known], flat.scores[is_known], Weighted(weights, owner))
    if len(owner) == 0:
        return {}
    if kind == "regression":
        return from_values(known.weighted, known.truth.astype(np.float64), known.scores.reshape(-1))
    return _single_label(known, classes, levels)


def _single_label(flat: _Flat, classes: Sequence[str], levels: int | None) -> dict[str, Array]:
    count = len(classes)
    truth, said = flat.truth.astype(np.int64), flat.scores.argmax(axis=1)
    right = truth == said
    hits = flat.weighted.counts_of(truth[right], flat.weighted.owner[right], count)
    actual, predicted = flat.weighted.counts(truth, count), flat.weighted.counts(said, count)
    areas = [
        ranking(flat.weighted, flat.truth == number, flat.scores[:, number], levels)
        for number in ([1] if count == 2 else range(count))
    ]
    return from_class_counts(hits, actual, predicted, classes) | _mean_areas(areas)


def _multilabel(flat: _Flat, classes: Sequence[str], levels: int | None) -> dict[str, Array]:
    """Accuracy is of whole sets of classes; the Jaccard index is a mean over proteins."""
    is_known, is_true, is_found = flat.truth >= 0, flat.truth == 1, flat.scores >= THRESHOLD
    outcomes = [is_true & is_found, ~is_true & is_found, is_true & ~is_found, ~is_true & ~is_found]
    table = np.stack([outcome & is_known for outcome in outcomes], axis=2).astype(np.float64)
    sums = flat.weighted.sums(table.reshape(len(table), -1))
    figures = from_label_counts(sums.reshape(len(sums), len(classes), 4), classes)
    both = (is_true & is_found & is_known).sum(axis=1)
    either = ((is_true | is_found) & is_known).sum(axis=1)
    jaccard = np.where(either > 0, both / np.maximum(either, 1), 1.0)
    exact = both == either
    counted = is_known.any(axis=1)
    n, jaccards, exacts = flat.weighted.sums(
        np.stack((counted, jaccard * counted, exact * counted), axis=1)
    ).T
    figures |= {"jaccard": jaccards / np.maximum(n, 1), "accuracy": exacts / np.maximum(n, 1)}
    areas = []
    for number in range(len(classes)):
        known = is_known[:, number]
        some = Weighted(flat.weighted.weights, flat.weighted.owner[known])
        areas.append(ranking(some, is_true[known, number], flat.scores[known, number], levels))
    return figures | _mean_areas(areas)


def _mean_areas(areas: Sequence[tuple[Array, Array]]) -> dict[str, Array]:
    """Means over the classes for which there is an area."""
    figures = {}
    for name, values in zip(("auc", "pr_auc"), zip(*areas, strict=True), strict=True):
        table = np.stack(values)
        count = np.isfinite(table).sum(axis=0)
        figures[name] = np.where(count > 0, np.nansum(table, axis=0) / np.maximum(count, 1), np.nan)
    return figures


def _pair_figures(truth: Many, probabilities: Many, weights: Array) -> dict[str, Array]:
    """Means over proteins that have such pairs, by draw."""
    table: dict[str, list[float]] = {}
    for pairs, scores in zip(truth, probabilities, strict=True):
        for name, value in contact_figures(pairs, scores).items():
            table.setdefault(name, []).append(value)
    figures = {}
    for name, values in table.items():
        column = np.array(values)
        is_defined = np.isfinite(column)
        count = weights @ is_defined
        total = weights @ np.where(is_defined, column, 0.0)
        figures[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return figures


def contact_figures(pairs: NDArray[np.int64], scores: NDArray[Any]) -> dict[str, float]:
    """Precision of the L, L/2 and L/5 best pairs of one protein and the ROC area, nan where no pair touches.

    Pairs at least 6 residues apart count, more than 6 for `beyond 6`, and at least 24 for `long`.
    """
    scores = scores[..., 1] if scores.ndim == 3 else scores
    length = len(scores)
    is_touching = np.zeros((length, length), dtype=bool)
    if len(pairs):
        is_touching[pairs.min(axis=1), pairs.max(axis=1)] = True
    figures = {}
    for prefix, nearest in PAIR_RANGES:
        rows, columns = np.triu_indices(length, nearest)
        touching, score = is_touching[rows, columns], np.asarray(scores[rows, columns], dtype=np.float64)
        order = np.argsort(-score, kind="stable")
        for share, name in ((1, "L"), (2, "L/2"), (5, "L/5")):
            best = touching[order[: max(length // share, 1)]]
            figures[f"{prefix}precision at {name}"] = float(best.mean()) if touching.any() else np.nan
        if prefix == "":
            figures["auc"] = np.nan
            if len(touching):
                one = Weighted(np.ones((1, 1)), np.zeros(len(score), dtype=np.int64))
                figures["auc"] = float(ranking(one, touching, score, None)[0][0])
    return figures


def _items(level: Level, truth: Many, probabilities: Many, weights: Array) -> _Flat:
    lengths = [len(labels) for labels in truth] if level == "residue" else [1] * len(truth)
    owner = np.repeat(np.arange(len(truth)), lengths)
    return _Flat(_flat(truth), _flat(probabilities).astype(np.float64), Weighted(weights, owner))


def _flat(arrays: Many) -> NDArray[Any]:
    return (
        arrays if isinstance(arrays, np.ndarray) else np.concatenate([np.atleast_1d(one) for one in arrays])
    )


def _sides(
    kind: Kind, flat: NDArray[Any], count: int
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each class, which items are known and which are of it."""
    for number in range(count):
        if kind == "multilabel":
            yield flat[:, number] >= 0, flat[:, number] == 1
        else:
            yield flat >= 0, flat == number


def _support(kind: Kind, truth: Many, count: int) -> list[int]:
    flat = _flat(truth)
    return [int((is_known & is_positive).sum()) for is_known, is_positive in _sides(kind, flat, count)]
