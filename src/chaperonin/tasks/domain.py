"""Whether a protein is like those a model was trained on: the distance of its mean embedding (Lee et al. 2018).

Mahalanobis' distance, with a covariance that is shrunk (Ledoit and Wolf 2004) so that few proteins suffice for many
channels. The unit is the distance within which 99 of 100 held-out proteins lie: above 1 is out of domain. The labels
play no part, so that it also speaks for models that never saw a second class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import WeightsError

KEPT = 0.99
"""Share of held-out proteins that are in domain by definition."""
FEWEST = 10
"""Fewer training proteins than these have no spread to speak of: everything is in domain, and unknown."""


@dataclass(frozen=True)
class Domain:
    """Centre and spread of the mean embeddings of the training set."""

    centre: NDArray[np.float32]
    """`[width]`"""
    whitening: NDArray[np.float32]
    """`[width, width]`: makes distances from the centre Euclidean and held-out proteins 99 % shorter than 1."""

    @classmethod
    def fit(cls, features: NDArray[Any], held_out: NDArray[Any]) -> "Domain | None":
        """Domain of mean embeddings `[proteins, width]`; None where there are too few for one.

        held_out: those of proteins that were not trained on, which set the unit; where there are fewer than ten, the
        training set sets it, which is a little too strict.
        """
        from sklearn.covariance import ledoit_wolf

        features = np.asarray(features, dtype=np.float64)
        if len(features) < FEWEST:
            return None
        centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-12
        covariance, _ = ledoit_wolf((features - centre) / scale, assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        whitening = vectors / np.sqrt(np.maximum(values, 1e-12)) / scale[:, None]
        judges = np.asarray(held_out, dtype=np.float64) if len(held_out) >= FEWEST else features
        distances = np.sort(np.linalg.norm((judges - centre) @ whitening, axis=1))
        rank = min(int(np.ceil(KEPT * (len(distances) + 1))), len(distances))
        whitening /= max(distances[rank - 1], 1e-12)
        return cls(centre.astype(np.float32), whitening.astype(np.float32))

    def distance(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Distance of each row of mean embeddings `[proteins, width]`; above 1 is out of domain."""
        offsets = np.asarray(features, dtype=np.float64) - self.centre
        return np.linalg.norm(offsets @ self.whitening.astype(np.float64), axis=-1)

    def contains(self, features: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each row is in domain."""
        return self.distance(features) <= 1

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What domain.safetensors holds."""
        return {"centre": self.centre, "whitening": self.whitening}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], width: int, where: str) -> "Domain":
        """The domain that `arrays` described; WeightsError for what is none of this width."""
        wanted = {"centre": (width,), "whitening": (width, width)}
        found = {name: array.shape for name, array in arrays.items()}
        if found != wanted or not all(np.isfinite(array).all() for array in arrays.values()):
            raise WeightsError(
                f"holds {found}, expected finite numbers of {wanted}",
                where=where,
                advice="Train the model again.",
            )
        return cls(arrays["centre"], arrays["whitening"])
