"""What a model is trained to predict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from chaperonin.errors import InputError, UsageError
from chaperonin.tasks.labels import (
    UNKNOWN,
    is_unknown,
    number_in,
    read_pairs,
    residue_labels,
    several_labels,
    shown,
)

Level = Literal["sequence", "residue", "pairs"]
"""What has a label: a protein, each of its residues, or each pair of them."""
Kind = Literal["binary", "multiclass", "multilabel", "regression"]

PAIR_CLASSES = ("apart", "touching")
MOST_CLASSES = 20
"""Whole numbers with more distinct values than this are quantities, not names of classes."""
_KINDS = "Give the kind: binary, multiclass, multilabel or regression."


@dataclass(frozen=True)
class Target:
    """Level, kind and classes. Mean and deviation are those that regression values are standardised with."""

    level: Level
    kind: Kind
    classes: tuple[str, ...] = ()
    """In the order of their numbers; the second of two is the positive one."""
    mean: float = 0.0
    deviation: float = 1.0
    unknown: str = UNKNOWN
    """Letters that stand for a label that is not known."""

    def __post_init__(self) -> None:
        allowed = kinds_of(self.level)
        if self.kind not in allowed:
            raise UsageError(
                f"the kind {self.kind} does not exist for {self.level}",
                advice=f"There is {', '.join(allowed)}.",
            )
        least = {"binary": 2, "multiclass": 2, "multilabel": 1, "regression": 0}[self.kind]
        has_too_many = self.kind in ("binary", "regression") and len(self.classes) > least
        if len(self.classes) < least or has_too_many:
            raise UsageError(
                f"{self.kind} does not go with {_count(self.classes, 'class', 'classes')}",
                advice="Two classes are binary, more are multiclass, numbers without classes are regression.",
            )
        if not self.deviation > 0:
            raise UsageError(f"values cannot be standardised with a deviation of {self.deviation}")

    @property
    def outputs(self) -> int:
        """Logits of each protein, residue or pair."""
        return 1 if self.kind in ("binary", "regression") else len(self.classes)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each class."""
        return {name: number for number, name in enumerate(self.classes)}

    def encode(self, text: str, length: int, where: str = "") -> NDArray[Any]:
        """A label as numbers, for a protein of `length` residues.

        Sequence: int64 scalar, int64 `[classes]` of 0 and 1, or float32 scalar. Residue: `[length]`. Pairs: int64
        `[n, 2]`, counted from 0, the smaller first. What is not known is -1 or nan. Values keep the user's unit.
        InputError, which says `where`, for what cannot be read.
        """
        if self.level == "pairs":
            return read_pairs(text, length, where)
        if self.level == "residue":
            return self._read_residues(text, length, where)
        if self.kind == "multilabel":
            return self._read_several(text, where)
        return np.array(self._read(text.strip(), where), dtype=self._dtype)

    @property
    def _dtype(self) -> Any:
        return np.float32 if self.kind == "regression" else np.int64

    def _read(self, name: str, where: str) -> float:
        """A value, or the number of a class."""
        if is_unknown(name, self.kind, self.unknown):
            return math.nan if self.kind == "regression" else -1
        if self.kind == "regression":
            value = number_in(name)
            if value is None:
                raise InputError(f"the label {shown(name)} is no number", where=where)
            return value
        if name not in self.numbers:
            advice = f"The classes are {_listed(self.classes)}."
            raise InputError(f"the label {shown(name)} is no class", where=where, advice=advice)
        return self.numbers[name]

    def _read_residues(self, text: str, length: int, where: str) -> NDArray[Any]:
        has_letters = self.kind != "regression" and all(len(name) == 1 for name in self.classes)
        parts = residue_labels(text, has_letters)
        if len(parts) != length:
            raise InputError(
                f"{_count(parts, 'label', 'labels')} for {length} residues",
                where=where,
                advice="Give one label for each residue.",
            )
        return np.array([self._read(part, where) for part in parts], dtype=self._dtype)

    def _read_several(self, text: str, where: str) -> NDArray[np.int64]:
        """1 for each class that is named; a lone `|` names none."""
        if is_unknown(text.strip(), self.kind, self.unknown):
            return np.full(len(self.classes), -1)
        found = np.zeros(len(self.classes), dtype=np.int64)
        for name in several_labels(text):
            found[int(self._read(name, where))] = 1
        return found

    def standardised(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values in deviations from the mean."""
        return ((values - self.mean) / self.deviation).astype(np.float32)

    def fitted(self, values: NDArray[Any]) -> "Target":
        """This target with mean and deviation of known values (those of the training part)."""
        known = values[np.isfinite(values)].astype(np.float64)
        if len(known) < 2 or known.min() == known.max():
            what = f"all are {known[0]:g}" if len(known) else "none is a number"
            raise InputError(f"the labels hold nothing to learn: {what}", advice="Give different values.")
        return replace(self, mean=float(known.mean()), deviation=float(known.std()))

    def probabilities(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Logits `[..., outputs]` to what a reader wants; those of pairs are `[length, length, 1]` here.

        Binary: `[..., 2]` in the order of the classes. Multi-class: softmax. Multi-label: each class by itself.
        Regression: values `[...]` in the user's unit.
        """
        if self.kind == "regression":
            return logits[..., 0] * self.deviation + self.mean
        if self.kind == "multiclass":
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            return powers / powers.sum(axis=-1, keepdims=True)
        if self.kind == "multilabel":
            return _sigmoid(logits)
        return _sigmoid(np.concatenate([-logits, logits], axis=-1))

    def as_json(self) -> dict[str, Any]:
        """For `task.json` and `metrics.json`."""
        return {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Target":
        """What `as_json` gave; InputError where a part is missing or has another name."""
        try:
            return cls(**{**stored, "classes": tuple(stored["classes"])})
        except (KeyError, TypeError) as wrong:
            raise InputError(
                f"this is no target: {wrong}", advice="Write the model directory again."
            ) from wrong


def kinds_of(level: Level) -> tuple[Kind, ...]:
    """The kinds of target that a level has."""
    if level == "pairs":
        return ("binary",)
    return tuple(kind for kind in get_args(Kind) if level == "sequence" or kind != "multilabel")


def infer_target(
    labels: Sequence[str],
    level: Level,
    kind: Kind | Literal["auto"] = "auto",
    classes: Sequence[str] = (),
    unknown: str = UNKNOWN,
) -> Target:
    """Kind, classes (sorted by name unless given), mean and deviation of the labels of a data set.

    Numbers with many distinct values are regression, two classes binary, names with `|` or `;` between them
    multi-label. InputError where the labels tell nothing apart. A label that `encode` will refuse does not count.
    """
    if kind not in ("auto", *kinds_of(level)):
        raise UsageError(f"the kind {kind} does not exist for {level}", advice=_KINDS)
    if level == "pairs":
        return Target("pairs", "binary", PAIR_CLASSES, unknown=unknown)
    parts = _parts(labels, level, kind)
    names = [name for name in parts if not is_unknown(name, kind, unknown)]
    if not names:
        raise InputError("no record has a label", advice="Name the column that holds the labels.")
    if kind == "auto":
        kind = _kind(names, level, len(labels), is_given=bool(classes))
    if kind == "regression":
        values = [value for name in names if (value := number_in(name)) is not None]
        return Target(level, kind, unknown=unknown).fitted(np.array(values))
    if kind == "multilabel":
        names = [part for name in names for part in several_labels(name)]
    return Target(level, kind, _classes(names, kind, classes), unknown=unknown)


def _parts(labels: Sequence[str], level: Level, kind: str) -> list[str]:
    """Every single label, as text."""
    if level == "sequence":
        return [label.strip() for label in labels]
    has_letters = kind != "regression" and not any(len(label.split()) > 1 for label in labels)
    return [part for label in labels for part in residue_labels(label, has_letters)]


def _kind(names: Sequence[str], level: Level, records: int, is_given: bool) -> Kind:
    distinct = set(names)
    if level == "sequence" and any(len(several_labels(name)) > 1 for name in distinct):
        return "multilabel"
    values = [value for name in distinct if (value := number_in(name)) is not None]
    is_quantity = len(values) > MOST_CLASSES or any(value % 1 for value in values)
    if is_quantity and len(distinct) > 2 and 2 * len(values) > len(distinct):
        return "regression"
    if level == "sequence" and not is_given and len(distinct) > max(MOST_CLASSES, records // 2):
        raise InputError(
            f"{len(distinct)} different labels in {records} records are too many to be classes",
            advice=f"Name the column that holds the labels, or say what they are. {_KINDS}",
        )
    return "binary" if len(distinct) <= 2 else "multiclass"


def _classes(names: Sequence[str], kind: Kind, given: Sequence[str]) -> tuple[str, ...]:
    """The classes that were given or occur."""
    found = sorted({name for name in names if not given or name in given}, key=_order)
    if kind != "multilabel" and len(found) <= 1:
        what = f"every label is {shown(found[0])}" if found else f"no label is one of {_listed(given)}"
        raise InputError(
            f"{what}: there is nothing to tell apart", advice="Give records of at least two classes."
        )
    if kind == "binary" and len(given or found) != 2:
        raise InputError(f"{len(given or found)} classes are not binary", advice="Use multiclass.")
    return tuple(given or found)


def _order(name: str) -> tuple[bool, float, str]:
    """Numbers by value, then names in alphabetical order."""
    value = number_in(name)
    return (value is None, value or 0.0, name)


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    # Without overflow, and with all digits of small probabilities.
    return np.exp(-np.logaddexp(0, -logits))


def _listed(names: Sequence[str]) -> str:
    first = ", ".join(names[:MOST_CLASSES])
    return first if len(names) <= MOST_CLASSES else f"{first} and {len(names) - MOST_CLASSES} more"


def _count(things: Sequence[Any], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
