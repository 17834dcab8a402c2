"""Figures of a model with their intervals, as metrics.json holds them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.tasks.metrics import bootstrap, metrics
from chaperonin.tasks.target import Target


def figures(
    target: Target,
    truth: Sequence[NDArray[Any]],
    said: Sequence[NDArray[Any]],
    draws: int = 1000,
    folds: Sequence[int] | None = None,
) -> dict[str, dict[str, float]]:
    """Each figure with its 95 % interval from so many draws of the proteins; nothing where there are no examples.

    truth: labels as `Target.encode` gives them. said: probabilities (values of a regression), one array per protein.
    folds: number of the model that said it, of each protein, where there are several (see `metrics`).
    """
    if not len(truth):
        return {}
    is_sequence = target.level == "sequence"
    own: Any = np.stack(truth) if is_sequence else list(truth)
    given: Any = np.stack(said) if is_sequence else list(said)
    models = None if folds is None else np.array(folds)
    values = metrics(target.kind, target.level, own, given, target.classes, models)
    intervals = bootstrap(target.kind, target.level, own, given, target.classes, draws=draws, folds=models)
    found = {}
    for name, value in values.items():
        low, high = intervals.get(name, (float("nan"), float("nan")))
        found[name] = {"value": value} if low != low else {"value": value, "low": low, "high": high}
    return found
