"""What a trained model says of one protein, and the line of predictions.csv that holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chaperonin.tasks.calibration import Calibration

if TYPE_CHECKING:
    from chaperonin.tasks.target import Target

LIKELY = 0.5
"""Probability from which a label, or a pair of residues, is said to be there."""


@dataclass(frozen=True)
class Output:
    """What the network computed of one protein."""

    logits: NDArray[np.float32]
    """`[outputs]` of a protein, `[length, outputs]` of its residues, `[length, length]` of their pairs."""
    distance: float
    """How far the protein is from those the model was trained on; NaN where the model does not know."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted of one protein. What a target has not is empty: a class has no value, a value no label."""

    label: str
    """The class; several joined by `|`; one letter per residue; or pairs as `3-17 5-20`, counted from 1."""
    probability: float | None
    """Calibrated: of the class, or the mean over the residues or pairs that the label names."""
    probabilities: Mapping[str, float]
    """Per class, of a whole protein."""
    value: float | None
    """Regression of a whole protein, in the user's unit."""
    interval: float | None
    """Nine of ten true values lie within value ± interval, as measured in training."""
    in_domain: bool | None
    """Whether the protein is like those the model was trained on; None where the model does not know."""
    distance: float | None
    """How far it is from them; above 1 is out of domain."""
    residues: NDArray[np.float64] | None = None
    """`[length, classes]` probabilities or `[length]` values, per residue."""
    pairs: NDArray[np.float64] | None = None
    """`[length, length]` probabilities of pairs of residues."""

    def as_json(self) -> dict[str, Any]:
        """What there is of it, as JSON can hold it."""
        named: dict[str, Any] = {
            "label": self.label or None,
            "probability": self.probability,
            "probabilities": dict(self.probabilities) or None,
            "value": self.value,
            "interval": self.interval,
            "in_domain": self.in_domain,
            "distance": self.distance,
        }
        for name, array in (("residues", self.residues), ("pairs", self.pairs)):
            named[name] = None if array is None else array.round(6).tolist()
        return {name: value for name, value in named.items() if value is not None}


def predict_one(output: Output, target: "Target", calibration: Calibration) -> Prediction:
    """A prediction from logits: calibrated, named, and marked where it is out of domain."""
    known = bool(np.isfinite(output.distance))
    domain = (output.distance <= 1, float(output.distance)) if known else (None, None)
    made = _MAKERS[target.level](calibration.apply(output.logits, target), target)
    interval = calibration.interval if made.get("value") is not None else None
    usual: dict[str, Any] = {"label": "", "probability": None, "probabilities": {}, "value": None}
    return Prediction(**usual | made, interval=interval, in_domain=domain[0], distance=domain[1])


def _of_protein(values: NDArray[np.float64], target: "Target") -> dict[str, Any]:
    if target.kind == "regression":
        return {"value": float(values.reshape(()))}
    shares = dict(zip(target.classes, map(float, values), strict=True))
    if target.kind == "multilabel":
        likely = [name for name, share in shares.items() if share >= LIKELY]
        # Sure of a set of labels is to be sure of each, the absent ones too; the least sure one says how far.
        weakest = min(max(share, 1 - share) for share in shares.values())
        return {"label": "|".join(likely), "probability": weakest, "probabilities": shares}
    best = max(shares, key=shares.__getitem__)
    return {"label": best, "probability": shares[best], "probabilities": shares}


def _of_residues(values: NDArray[np.float64], target: "Target") -> dict[str, Any]:
    if target.kind == "regression":
        values = values.reshape(len(values))
        return {"label": " ".join(f"{value:.4g}" for value in values), "residues": values}
    names = [target.classes[number] for number in values.argmax(axis=1)]
    separator = "" if max(map(len, target.classes)) == 1 else " "
    return {
        "label": separator.join(names),
        "probability": float(values.max(axis=1).mean()),
        "residues": values,
    }


def _of_pairs(values: NDArray[np.float64], target: "Target") -> dict[str, Any]:
    touching = values[..., -1]  # of the two classes of a binary target, the second
    first, second = np.nonzero(np.triu(touching >= LIKELY, 1))
    likely = [f"{one + 1}-{two + 1}" for one, two in zip(first, second, strict=True)]
    mean = float(touching[first, second].mean()) if likely else None
    return {"label": " ".join(likely), "probability": mean, "pairs": touching}


_MAKERS = {"sequence": _of_protein, "residue": _of_residues, "pairs": _of_pairs}


def header(target: "Target") -> list[str]:
    """Columns of predictions.csv that follow `id` (and `stage` and `truth`)."""
    if target.level == "sequence" and target.kind == "regression":
        return ["value", "low", "high", "in_domain", "distance"]
    columns = ["label", "probability", "in_domain", "distance"]
    return columns + [f"p_{name}" for name in target.classes] * (target.level == "sequence")


def cells(prediction: Prediction, target: "Target") -> list[str]:
    """What stands under `header`."""
    if prediction.in_domain is None:
        domain = ["", ""]
    else:
        domain = [str(prediction.in_domain).lower(), number(prediction.distance)]
    if target.level == "sequence" and target.kind == "regression":
        assert prediction.value is not None
        wide = prediction.interval
        ends = ["", ""] if wide is None else [number(prediction.value + side * wide) for side in (-1, 1)]
        return [number(prediction.value), *ends, *domain]
    shares = [number(share) for share in prediction.probabilities.values()]
    return [prediction.label, number(prediction.probability), *domain, *shares]


def number(value: float | None) -> str:
    """Six digits that count; nothing for None."""
    return "" if value is None else f"{value:.6g}"
