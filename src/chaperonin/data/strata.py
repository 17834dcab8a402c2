"""What each example counts for when parts shall be alike: its class, its classes, or the bin of its value."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 10
"""Quantile bins of a value."""
MOST_CLASSES = 20
"""So many distinct labels are always classes; more are, while each has ten examples on average."""


def strata(labels: Sequence[str]) -> NDArray[np.float64]:
    """Table [examples, 1 + strata]: ones in the first column, then one column for each class or bin of values.

    Labels of residues, of which hardly two are equal, have no strata.
    """
    everything = np.ones((len(labels), 1))
    values = _values(labels)
    if values is not None:
        edges = np.quantile(values, np.arange(1, BINS) / BINS)
        return np.hstack((everything, np.eye(BINS)[np.searchsorted(edges, values, side="right")]))
    classes = [re.split(r"[|;]", label) for label in labels]
    names = {name.strip(): 0 for some in classes for name in some}
    if not _are_classes(len(names), len(labels)):
        return everything
    number = {name: place for place, name in enumerate(names)}
    table = np.zeros((len(labels), len(names)))
    for row, some in enumerate(classes):
        table[row, [number[name.strip()] for name in some]] = 1
    return np.hstack((everything, table))


def _values(labels: Sequence[str]) -> NDArray[np.float64] | None:
    """The labels as numbers, if they are numbers and no classes."""
    if _are_classes(len(set(labels)), len(labels)):
        return None
    try:
        values = np.array([float(label) for label in labels])
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _are_classes(distinct: int, count: int) -> bool:
    return distinct <= max(MOST_CLASSES, count // 10)
