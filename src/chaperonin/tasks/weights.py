"""How much each class counts in the loss."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chaperonin.errors import UsageError
from chaperonin.tasks.target import Kind

ClassWeights = Literal["none", "balanced"] | Mapping[str, float]


def class_weights(
    kind: Kind,
    targets: Iterable[NDArray[Any]],
    given: ClassWeights = "none",
    classes: Sequence[str] = (),
) -> Tensor | None:
    """Weights `[classes]` for a task, or None where all count alike.

    targets: labels of the training part, as a task's `labels` gives them. Balanced: every class weighs as much as
    every other in all (scikit-learn's rule); for multi-label, the weight of a positive is negatives / positives of its
    class. A class without a label weighs 1.
    """
    if given == "none":
        return None
    if kind == "regression":
        raise UsageError("class weights make no sense for regression", advice="Use class_weights: none.")
    if isinstance(given, Mapping):
        return _named(given, classes)
    if given != "balanced":
        raise UsageError(
            f"class weights {given!r} are not known", advice="Use none, balanced, or a number a class."
        )
    if kind == "multilabel":
        stacked = np.stack([np.ravel(target) for target in targets])
        negatives, positives = (stacked == 0).sum(axis=0), (stacked == 1).sum(axis=0)
        is_told = (positives > 0) & (negatives > 0)
        return _tensor(np.where(is_told, negatives / np.maximum(positives, 1), 1.0))
    counts = _counts(targets, len(classes))
    even = counts.sum() / (len(counts) * np.maximum(counts, 1))
    return _tensor(np.where(counts > 0, even, 1.0))


def _named(given: Mapping[str, float], classes: Sequence[str]) -> Tensor:
    strange = [name for name in given if name not in classes]
    missing = [name for name in classes if name not in given]
    if strange or missing or min(given.values()) < 0:
        raise UsageError(
            f"class weights name {', '.join(given)}, the classes are {', '.join(classes)}",
            advice="Give each class a number that is not negative.",
        )
    return _tensor(np.array([given[name] for name in classes]))


def _counts(targets: Iterable[NDArray[Any]], classes: int) -> NDArray[np.int64]:
    counts = np.zeros(classes, dtype=np.int64)
    for target in targets:
        known = target[target >= 0].ravel()
        own = np.bincount(known, minlength=max(classes, len(counts)))
        counts = own + np.pad(counts, (0, len(own) - len(counts)))
    return counts


def _tensor(weights: NDArray[Any]) -> Tensor:
    return torch.from_numpy(weights.astype(np.float32))
