"""Probabilities that mean what they say: one temperature, fitted on validation data (Guo et al. 2017).

A model that is right in 80 % of the cases where it says 80 % is calibrated. The logits are divided by a temperature,
which changes no label. For a regression, the width of the interval that holds nine of ten values takes its place
(split conformal prediction, Lei et al. 2018).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import WeightsError

if TYPE_CHECKING:
    from chaperonin.tasks.target import Target

Kind = Literal["binary", "multiclass", "multilabel", "regression"]

COVERAGE = 0.9
"""Share of the values that lie within the interval of a regression."""
BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0


@dataclass(frozen=True)
class Calibration:
    """What turns logits into probabilities, and how far off these were before and after, on the validation part."""

    temperatures: tuple[float, ...] = (1.0,)
    """Logits are divided by it: one number, or one per class where each class is a question of its own."""
    error_before: float | None = None
    """Expected calibration error at temperature 1; None where nothing was there to fit on."""
    error_after: float | None = None
    interval: float | None = None
    """Regression: half the width, in the user's unit, of the interval that holds 90 % of the values."""

    @classmethod
    def fit(cls, logits: NDArray[Any], truth: NDArray[Any], target: "Target") -> "Calibration":
        """Calibration from rows that were not trained on.

        logits: `[rows, outputs]`; rows are proteins, residues or pairs. truth: `[rows]`, `[rows, classes]` for several
        labels; -1 and NaN are left out. Without a row that is known, nothing changes.
        """
        logits = np.asarray(logits, dtype=np.float64).reshape(-1, target.outputs)
        truth, read = np.asarray(truth), target.probabilities
        truth = truth if target.kind == "multilabel" else truth.reshape(-1)
        if target.kind == "regression":
            return cls(interval=_interval(read(logits), truth))
        known = np.atleast_2d((truth >= 0).T).all(axis=0)
        logits, truth = logits[known], truth[known].astype(np.int64)
        if not len(truth):
            return cls()
        temperatures = _temperatures(logits, truth, target.kind)
        before, after = (
            calibration_error(*confidences(read(logits / scale), truth, target.kind))
            for scale in (np.ones(1), np.array(temperatures))
        )
        return cls(temperatures, before, after)

    def apply(self, logits: NDArray[Any], target: "Target") -> NDArray[np.float64]:
        """Probabilities `[…, classes]` of logits `[…, outputs]` (of pairs `[length, length]`); or values."""
        rows = np.asarray(logits, dtype=np.float64)
        rows = rows[..., None] if target.level == "pairs" else rows
        if target.kind == "regression":
            return target.probabilities(rows)
        return target.probabilities(rows / np.array(self.temperatures))

    def as_json(self) -> dict[str, Any]:
        """What task.json holds."""
        return {**asdict(self), "temperatures": list(self.temperatures)}

    def summary(self) -> dict[str, Any]:
        """The part `calibration` of metrics.json."""
        if self.interval is not None:
            return {"interval": self.interval, "coverage": COVERAGE}
        single = self.temperatures[0] if len(self.temperatures) == 1 else list(self.temperatures)
        return {"temperature": single, "ece_before": self.error_before, "ece_after": self.error_after}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], outputs: int, where: str) -> "Calibration":
        """The calibration that `as_json` described; WeightsError for what is none."""
        try:
            numbers = tuple(float(value) for value in stored["temperatures"])
            rest = [stored.get(name) for name in ("error_before", "error_after", "interval")]
            before, after, interval = (None if value is None else float(value) for value in rest)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"the calibration cannot be read ({error})", where=where, advice="Train the model again."
            ) from error
        if len(numbers) not in (1, outputs) or not all(np.isfinite(numbers)) or min(numbers) <= 0:
            raise WeightsError(
                f"temperatures {list(numbers)} are not {outputs} positive numbers",
                where=where,
                advice="Train the model again.",
            )
        return cls(numbers, before, after, interval)


def uncalibrated(probabilities: NDArray[np.float64], temperatures: tuple[float, ...], kind: Kind) -> NDArray:
    """The probabilities `[rows, classes]` that calibrated ones were before: the way back."""
    powers = np.asarray(probabilities, dtype=np.float64) ** np.array(temperatures)
    if kind == "multilabel":
        return powers / (powers + (1 - probabilities) ** np.array(temperatures))
    return powers / powers.sum(axis=-1, keepdims=True)


def confidences(
    probabilities: NDArray[Any], truth: NDArray[Any], kind: Kind
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What a model was how sure of, and whether it held.

    One class of several: the probability of the one it names. Several labels: the probability of every label.
    """
    if kind == "multilabel":
        return np.ravel(probabilities), np.ravel(truth).astype(bool)
    return probabilities.max(axis=-1), probabilities.argmax(axis=-1) == truth


def calibration_error(confidence: NDArray[np.float64], holds: NDArray[np.bool_], bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over bins of equal width, weighted by their counts."""
    counts, sure, right = reliability(confidence, holds, bins)
    filled = counts > 0
    return float(np.abs(sure - right)[filled] @ counts[filled] / counts.sum())


def reliability(
    confidence: NDArray[np.float64], holds: NDArray[np.bool_], bins: int = BINS
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Count, mean confidence and share that holds, of each bin of confidence; NaN where a bin is empty."""
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        sure = np.bincount(place, confidence, bins) / counts
        right = np.bincount(place, holds.astype(np.float64), bins) / counts
    return counts, sure, right


def _temperatures(logits: NDArray[np.float64], truth: NDArray[np.int64], kind: Kind) -> tuple[float, ...]:
    if kind == "multilabel":
        columns = range(logits.shape[1])
        return tuple(_temperature(_binary_loss(logits[:, one], truth[:, one])) for one in columns)
    if kind == "binary":
        return (_temperature(_binary_loss(logits[:, 0], truth)),)
    return (_temperature(_multiclass_loss(logits, truth)),)


def _temperature(loss: Callable[[float], float]) -> float:
    """Where the loss, which is convex in 1/temperature, is lowest."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda heat: loss(float(np.exp(-heat))), bounds=np.log([_COLDEST, _HOTTEST]))
    return float(np.exp(found.x))


def _binary_loss(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> Callable[[float], float]:
    """Inverse temperature → mean cross-entropy."""
    wanted = _softened(truth.astype(np.float64), 2)
    return lambda sharpness: float(np.mean(np.logaddexp(0, sharpness * logits) - wanted * sharpness * logits))


def _multiclass_loss(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> Callable[[float], float]:
    centred = logits - logits.max(axis=1, keepdims=True)
    wanted = _softened(np.eye(logits.shape[1])[truth], logits.shape[1])

    def loss(sharpness: float) -> float:
        scaled = sharpness * centred
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - (wanted * scaled).sum(axis=1)))

    return loss


def _softened(wanted: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Few rows prove no certainty: the truth is mixed with as little chance as n rows can tell (Platt 1999).

    Without it, rows that all are right would make every later answer certain.
    """
    doubt = 1 / (len(wanted) + 2)
    return wanted * (1 - doubt) + doubt / classes


def _interval(values: NDArray[np.float64], truth: NDArray[Any]) -> float | None:
    errors = np.sort(np.abs(values - truth)[np.isfinite(truth)])
    if not len(errors):
        return None
    rank = int(np.ceil(COVERAGE * (len(errors) + 1)))
    return float(errors[min(rank, len(errors)) - 1])
