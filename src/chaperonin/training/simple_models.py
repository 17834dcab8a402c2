"""Linear models on a few features, their regularisation chosen on validation examples."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.tasks.target import Kind

Array = NDArray[np.float64]
Predict = Callable[[Any], Array]
ClassWeights = Literal["none", "balanced"] | Mapping[str, float]

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse penalties that are tried."""
_ITERATIONS, _FEWEST = 1000, 50
_WORK = 1_000_000_000
"""Examples times classes times iterations, at most: with a thousand classes, converging would take hours."""
_LEAST = 1e-6


@dataclass(frozen=True)
class Problem:
    """What is predicted, and how much each class counts.

    Truth is class numbers [n], 0 and 1 [n, classes] for multilabel, or values [n]; predictions have the form of
    a model's: [n, classes], or values [n].
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    class_weights: ClassWeights = "none"

    def known(self, truth: NDArray[Any]) -> NDArray[np.bool_]:
        """Which examples have an answer (for multilabel: every class of it)."""
        if self.kind == "regression":
            return np.isfinite(truth)
        return np.asarray((truth >= 0).all(axis=1) if self.kind == "multilabel" else truth >= 0)

    def columns(self, truth: NDArray[Any]) -> Array:
        """Truth as [n, columns]: one-hot, 0 and 1, or one column of values."""
        if self.kind == "regression":
            return truth.astype(np.float64)[:, None]
        if self.kind == "multilabel":
            return truth.astype(np.float64)
        return np.eye(len(self.classes))[truth]

    def weights(self, truth: NDArray[Any]) -> Array:
        """Weight of each example [n] (of multilabel, of each answer [n, classes]), by its class."""
        if self.kind == "regression" or self.class_weights == "none":
            return np.ones(truth.shape)
        given = self.class_weights
        if self.kind == "multilabel":
            positive = truth.sum(axis=0)
            balance = (len(truth) - positive) / np.maximum(positive, 1)
            wanted = (
                balance if isinstance(given, str) else np.array([given.get(c, 1.0) for c in self.classes])
            )
            return np.where(truth == 1, wanted, 1.0)
        if isinstance(given, str):
            counts = np.bincount(truth, minlength=len(self.classes))
            return (len(truth) / np.maximum(counts * (counts > 0).sum(), 1))[truth]
        return np.array([given.get(name, 1.0) for name in self.classes])[truth]

    def constant(self, truth: NDArray[Any]) -> Array:
        """The best prediction without looking: share of each class, or the mean; a row, or one value."""
        weights = self.weights(truth).reshape(len(truth), -1)
        columns = self.columns(truth)
        mean = (columns * weights).sum(axis=0) / (weights * np.ones_like(columns)).sum(axis=0)
        return mean[0] if self.kind == "regression" else mean

    def predictions(self, columns: Array) -> Array:
        """Predictions in a model's form from mean columns of the truth."""
        return columns[:, 0] if self.kind == "regression" else columns

    def loss(self, truth: NDArray[Any], predicted: Array) -> float:
        """Mean squared error, or weighted log loss."""
        if self.kind == "regression":
            return float(((truth - predicted) ** 2).mean())
        likely = np.clip(predicted, _LEAST, 1 - _LEAST)
        weights = self.weights(truth)
        if self.kind == "multilabel":
            return float(-(weights * np.log(np.where(truth == 1, likely, 1 - likely))).mean())
        return float(-(weights * np.log(likely[np.arange(len(truth)), truth])).mean())


@dataclass(frozen=True)
class Part:
    """Features [n, features] (an array or a sparse matrix) and truth of some examples."""

    features: Any
    truth: NDArray[Any]


def best(problem: Problem, models: Iterable[Predict], default: int, validation: Part) -> Predict:
    """The model with the least loss on validation; without validation the one whose number is given."""
    candidates = list(models)
    if not len(validation.truth):
        return candidates[default]
    return candidates[best_number(problem, candidates, validation)]


def best_number(problem: Problem, models: Sequence[Predict], validation: Part) -> int:
    """Number of the model with the least loss on validation."""
    losses = [problem.loss(validation.truth, model(validation.features)) for model in models]
    return int(np.argmin(losses))


def linear_model(problem: Problem, training: Part, validation: Part) -> Predict:
    """Logistic regression (one for each class of multilabel) or ridge regression."""
    fit = {"regression": ridge, "multilabel": _logistic_each}.get(problem.kind, _logistic)
    models = (fit(problem, training, strength) for strength in STRENGTHS)
    return best(problem, models, STRENGTHS.index(1.0), validation)


def ridge(problem: Problem, training: Part, strength: float) -> Predict:
    """Ridge regression with a penalty of 1 / strength."""
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1 / strength)
    model.fit(training.features, training.truth)
    return lambda features: np.asarray(model.predict(features), dtype=np.float64)


def _logistic(problem: Problem, training: Part, strength: float) -> Predict:
    present = np.unique(training.truth)
    if len(present) < 2:
        row = problem.constant(training.truth)
        return lambda features: np.tile(row, (features.shape[0], 1))
    likely = _fitted(training.features, training.truth, problem.weights(training.truth), strength)

    def predict(features: Any) -> Array:
        probabilities = np.zeros((features.shape[0], len(problem.classes)))
        probabilities[:, present] = likely(features)
        return probabilities

    return predict


def _logistic_each(problem: Problem, training: Part, strength: float) -> Predict:
    weights = problem.weights(training.truth)
    models: list[Predict | None] = []
    for number, truth in enumerate(training.truth.T):
        varies = 0 < truth.sum() < len(truth)
        models.append(_fitted(training.features, truth, weights[:, number], strength) if varies else None)
    constant = problem.constant(training.truth)

    def predict(features: Any) -> Array:
        columns = [
            np.full(features.shape[0], constant[number]) if model is None else model(features)[:, 1]
            for number, model in enumerate(models)
        ]
        return np.stack(columns, axis=1)

    return predict


def _fitted(features: Any, truth: NDArray[Any], weights: Array, strength: float) -> Predict:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    work = len(truth) * len(np.unique(truth))
    iterations = max(_FEWEST, min(_ITERATIONS, _WORK // work))
    model = LogisticRegression(C=strength, max_iter=iterations)
    with warnings.catch_warnings():  # nearly converged is good enough for a baseline
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, truth, sample_weight=weights)
    return lambda some: np.asarray(model.predict_proba(some), dtype=np.float64)
