"""Rigid motions that lay one set of points on another: the best for all of them, or for as many as come near."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Motion:
    """A rotation and then a shift: `points @ rotation.T + translation`."""

    rotation: Points
    """`[3, 3]`, of determinant 1."""
    translation: Points
    """`[3]`, in the unit of the points."""

    def apply(self, points: ArrayLike) -> Points:
        """Points `[..., 3]` after the motion."""
        return np.asarray(points, np.float64) @ self.rotation.T + self.translation


def superpose(mobile: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> Motion:
    """The motion of `mobile` `[points, 3]` with the smallest (weighted) RMSD to `target` (Kabsch 1976, 1978)."""
    mobile, target = _pair(mobile, target)
    chosen = np.ones(len(mobile)) if weights is None else np.asarray(weights, np.float64)
    pairs = _Pairs(mobile, target)
    rotations, translations = pairs.superpose(chosen[None])
    return pairs.motion(rotations[0], translations[0])


def rmsd(mobile: ArrayLike, target: ArrayLike) -> float:
    """Root mean square distance of points `[points, 3]` as they lie; superpose them first if that is meant."""
    mobile, target = _pair(mobile, target)
    return float(np.sqrt(np.square(mobile - target).sum(axis=-1).mean()))


def superposed_rmsd(mobile: ArrayLike, target: ArrayLike) -> float:
    """The smallest RMSD that any rigid motion gives."""
    return rmsd(superpose(mobile, target).apply(mobile), target)


def search_superpositions(
    mobile: ArrayLike,
    target: ArrayLike,
    radii: tuple[float, float],
    score: Callable[[Points], Points],
    most_starts: int = 1024,
) -> tuple[Points, list[Motion]]:
    """The highest value of each score, and the motions that have them, among those that fragments lead to.

    `score` takes squared distances `[motions, points]` and gives `[motions, scores]`. Each fragment of L, L/2, L/4 …
    to 4 points is superposed; the pairs then within the first radius (grown where they are fewer than three) are
    superposed in turn, then those within the second, until they stay the same: the search of Zhang & Skolnick
    (2004, Proteins 57:702). The fragments of one length start at each point, or at `most_starts` equally spaced ones;
    their program takes every 40th.
    """
    mobile, target = _pair(mobile, target)
    pairs = _Pairs(mobile, target)
    best, found = np.full(score(np.zeros((1, len(mobile)))).shape[1], -np.inf), {}
    for chosen in _fragments(len(mobile), most_starts):
        for round_number in range(_ROUNDS):
            rotations, translations = pairs.superpose(chosen)
            squared = pairs.squared_distances(rotations, translations)
            scores = score(squared)
            for place in np.flatnonzero(scores.max(axis=0) > best).tolist():
                motion = int(scores[:, place].argmax())
                best[place], found[place] = scores[motion, place], (rotations[motion], translations[motion])
            near = _near(squared, radii[min(round_number, 1)])
            moved = (near != chosen).any(axis=1)
            if not moved.any():
                break
            chosen = np.unique(near[moved], axis=0)
    return best, [pairs.motion(*found[place]) for place in range(len(best))]


_ROUNDS = 20
_SHORTEST = 4
_BLOCK = 256


class _Pairs:
    """Corresponding points, with what sums over them are made of.

    With features f = (1, x, y, y⊗x, |x|²+|y|²) of each pair, both the covariance of a choice of pairs and the
    squared distances |Rx+t−y|² are products with one matrix, for many choices or motions at once. The points
    are centred first, which keeps the rounding of those differences near 1e-10 Å².
    """

    def __init__(self, mobile: Points, target: Points) -> None:
        self.mobile_center, self.target_center = mobile.mean(axis=0), target.mean(axis=0)
        x, y = mobile - self.mobile_center, target - self.target_center
        outer = (y[:, :, None] * x[:, None, :]).reshape(-1, 9)
        squares = np.square(x).sum(axis=1) + np.square(y).sum(axis=1)
        self._features = np.concatenate([np.ones((len(x), 1)), x, y, outer, squares[:, None]], axis=1)

    def superpose(self, weights: NDArray) -> tuple[Points, Points]:
        """Rotations `[choices, 3, 3]` and translations `[choices, 3]` of the centred points."""
        sums = weights.astype(np.float64) @ self._features[:, :16]
        means = sums[:, 1:] / sums[:, :1]
        x, y = means[:, :3], means[:, 3:6]
        covariance = means[:, 6:].reshape(-1, 3, 3) - y[:, :, None] * x[:, None, :]
        left, _, right = np.linalg.svd(covariance)
        left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]  # a rotation, no mirror image
        rotations = left @ right
        return rotations, y - np.einsum("nij,nj->ni", rotations, x)

    def squared_distances(self, rotations: Points, translations: Points) -> Points:
        """`[motions, points]` in Å²."""
        back = np.einsum("nji,nj->ni", rotations, translations)
        constant = np.square(translations).sum(axis=1, keepdims=True)
        outer = -2 * rotations.reshape(-1, 9)
        last = np.ones((len(rotations), 1))
        factors = np.concatenate([constant, 2 * back, -2 * translations, outer, last], axis=1)
        return np.maximum(factors @ self._features.T, 0)

    def motion(self, rotation: Points, translation: Points) -> Motion:
        """The motion of the points themselves that is this motion of the centred ones."""
        return Motion(rotation, translation + self.target_center - rotation @ self.mobile_center)


def _fragments(length: int, most_starts: int) -> Iterator[NDArray[np.bool_]]:
    """Choices of consecutive points `[some, length]`, a block of motions at a time."""
    size = length
    while True:
        last = length - size
        starts = np.unique(np.linspace(0, last, min(last + 1, most_starts)).round().astype(np.int64))
        for first in range(0, len(starts), _BLOCK):
            offset = np.arange(length) - starts[first : first + _BLOCK, None]
            yield (offset >= 0) & (offset < size)
        if size <= _SHORTEST:
            return
        size = max(size // 2, _SHORTEST)


def _near(squared: Points, radius: float) -> NDArray[np.bool_]:
    """Pairs within a radius, which grows by 0.5 Å where it holds fewer than three (or than there are)."""
    least = min(3, squared.shape[1])
    third = np.sqrt(np.partition(squared, least - 1, axis=1)[:, least - 1])
    radii = radius + 0.5 * np.ceil(np.maximum(third - radius, 0) / 0.5)
    return squared <= np.square(radii)[:, None] + 1e-9


def _pair(mobile: ArrayLike, target: ArrayLike) -> tuple[Points, Points]:
    first, second = np.asarray(mobile, np.float64), np.asarray(target, np.float64)
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 3 or not len(first):
        raise ValueError(
            f"points of shapes {first.shape} and {second.shape}; both must be [points, 3], not empty"
        )
    return first, second
