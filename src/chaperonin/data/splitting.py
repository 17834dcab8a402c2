"""Training, validation and test parts that share no relatives, and a check for relatives that they do share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.families import families, same_sequence
from chaperonin.data.labelled import Dataset, Example
from chaperonin.data.strata import strata
from chaperonin.errors import UsageError

Numbers = NDArray[np.int64]

LARGEST_FAMILY = 0.5
"""Share of one family above which `auto` takes the examples for variants of one protein and splits at random."""
_STAGES = ("train", "val", "test")


@dataclass(frozen=True)
class SplitSettings:
    """How to part the examples."""

    method: Literal["auto", "given", "random", "cluster", "group"] = "auto"
    """`given`: the stages of the input; `random`: stratified by label; `cluster`: relatives stay together;
    `group`: what `group_column` says stays together; `auto`: stages, or groups, where there are any, else
    clusters, else (variants of one protein) at random."""
    validation_share: float = 0.1
    test_share: float = 0.1
    folds: int = 0
    """Above 1: as many splits, each example in the test part of one of them (with `given`, where the test
    part stays, in the validation part of one)."""
    group_column: str = ""
    """Asks for the method `group`; the reader takes the column (LabelSettings.group_column)."""
    seed: int = 0


@dataclass(frozen=True)
class Parts:
    """Numbers into the examples, ascending; the parts are disjoint and hold every example."""

    training: Numbers
    validation: Numbers
    test: Numbers
    method: str = ""
    """How it came about: `given`, `random`, `cluster` or `group`."""
    note: str = ""


def split_examples(dataset: Dataset, settings: SplitSettings) -> list[Parts]:
    """One split, or one for each fold; the same for the same seed.

    Equal sequences stay together, except where stages or groups are given: `leaks` tells of those. Shares are of
    examples, met as well as whole units and the classes allow. UsageError: too few units (families, groups,
    distinct sequences) for the parts.
    """
    _require(settings)
    examples = dataset.examples
    method, note, units = _units(examples, settings)
    table = strata([one.label for one in examples])
    plan = _Plan(table, settings, units, method)
    if method == "given":
        stage = np.array([_STAGES.index(one.stage) for one in examples])
        parts = plan.given(stage)
    else:
        parts = plan.folds() if settings.folds else [plan.parts()]
    return [Parts(*numbers, method, note) for numbers in parts]


def allocate(units: Numbers, table: NDArray[np.float64], shares: Sequence[float], seed: int) -> Numbers:
    """The part of each unit (numbers from 0), so that every part has its share of every column of the table.

    The table [examples, strata] says what each example counts for. Units go in order of size, the largest first
    and equal ones shuffled, to the part whose squared distance from its aim (relative to it) grows least: a unit
    larger than a small part's aim goes to the large part. No part stays empty while there are units for it.
    """
    counts = np.zeros((units.max() + 1, table.shape[1]))
    np.add.at(counts, units, table)
    share = np.asarray(shares)[:, None]
    aims = np.maximum(share * counts.sum(axis=0), 1e-9)
    lacks = np.zeros_like(aims) - aims
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    part = np.empty(len(counts), dtype=np.int64)
    for unit in order:
        present = np.flatnonzero(counts[unit])
        size = counts[unit, present]
        growth = (size * (2 * lacks[:, present] + size) / aims[:, present]).sum(axis=1)
        part[unit] = growth.argmin()
        lacks[part[unit], present] += size
    _fill_empty(part, counts[:, 0], len(shares))
    return part


def _fill_empty(part: Numbers, sizes: NDArray[np.float64], count: int) -> None:
    """Give each empty part the smallest unit of the part that has most of them."""
    for empty in np.flatnonzero(np.bincount(part, minlength=count) == 0):
        members = np.flatnonzero(part == np.bincount(part, minlength=count).argmax())
        part[members[sizes[members].argmin()]] = empty


@dataclass(frozen=True)
class _Plan:
    """Units to be kept whole, what they count for, and how to part them."""

    table: NDArray[np.float64]
    settings: SplitSettings
    units: Numbers
    method: str

    def parts(self) -> tuple[Numbers, Numbers, Numbers]:
        """Training, validation and test."""
        everything = np.arange(len(self.units))
        validation, test = self.settings.validation_share, self.settings.test_share
        wanted = [share for share in (validation, test) if share]
        chosen = self._chosen(everything, [1 - sum(wanted), *wanted])
        none = np.empty(0, dtype=np.int64)
        return chosen[0], chosen[1] if validation else none, chosen[-1] if test else none

    def folds(self) -> list[tuple[Numbers, Numbers, Numbers]]:
        """Each fold once as the test part; validation comes out of the rest."""
        count = self.settings.folds
        if self.method == "group" and self.units.max() + 1 == count:
            tests = [np.flatnonzero(self.units == number) for number in range(count)]
        else:
            tests = self._chosen(np.arange(len(self.units)), [1 / count] * count)
        return [self._without(test) for test in tests]

    def given(self, stage: Numbers) -> list[tuple[Numbers, Numbers, Numbers]]:
        """The stages as they are, a missing one cut out of training; or what is not for test, in folds."""
        training, validation, test = (np.flatnonzero(stage == number) for number in range(3))
        if self.settings.folds and len(test):
            rest = np.sort(np.concatenate((training, validation)))
            held = self._chosen(rest, [1 / self.settings.folds] * self.settings.folds)
            return [(np.setdiff1d(rest, fold), fold, test) for fold in held]
        if self.settings.folds:
            return self.folds()
        wanted = [0.0, 0.0]
        if len(validation) == 0:
            wanted[0] = self.settings.validation_share
        if len(test) == 0:
            wanted[1] = self.settings.test_share
        if any(wanted):
            chosen = self._chosen(training, [1 - sum(wanted), *(share for share in wanted if share)])
            training = chosen[0]
            validation, test = chosen[1] if wanted[0] else validation, chosen[-1] if wanted[1] else test
        return [(training, validation, test)]

    def _without(self, test: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        rest = np.setdiff1d(np.arange(len(self.units)), test)
        share = self.settings.validation_share * len(self.units) / len(rest)
        if not self.settings.validation_share:
            return rest, np.empty(0, dtype=np.int64), test
        training, validation = self._chosen(rest, [1 - min(share, 0.5), min(share, 0.5)])
        return training, validation, test

    def _chosen(self, numbers: Numbers, shares: Sequence[float]) -> list[Numbers]:
        """Some of the examples in parts of these shares."""
        found, units = np.unique(self.units[numbers], return_inverse=True)
        if len(found) < len(shares):
            raise UsageError(
                f"{len(found)} {_UNIT[self.method]} cannot fill {len(shares)} parts",
                where="data.split",
                advice="Use another method, fewer folds, or more examples.",
            )
        part = allocate(units, self.table[numbers], shares, self.settings.seed)[units]
        return [numbers[part == number] for number in range(len(shares))]


_UNIT = {"given": "families", "random": "sequences", "cluster": "families", "group": "groups"}


def _require(settings: SplitSettings) -> None:
    shares = settings.validation_share, settings.test_share
    if min(shares) < 0 or sum(shares) >= 1:
        raise UsageError(
            f"shares of {shares[0]} for validation and {shares[1]} for test leave nothing to train on",
            where="data.split",
            advice="Each is 0 or more, and together they are less than 1.",
        )
    if settings.folds < 0 or settings.folds == 1:
        raise UsageError(
            f"{settings.folds} folds are no cross-validation",
            where="data.split.folds",
            advice="0, or 2 or more.",
        )


def _units(examples: Sequence[Example], settings: SplitSettings) -> tuple[str, str, Numbers]:
    """The method, a note about its choice, and the number of the unit of each example."""
    method: str = settings.method
    if method == "auto":
        method = "group" if settings.group_column else "auto"
    if method == "auto" and (examples[0].stage or examples[0].group):
        method = "given" if examples[0].stage else "group"
    if method == "group":
        return method, "", _groups(examples)
    missing = _missing_stages(examples, settings) if method == "given" else ""
    sequences = [one.sequence for one in examples]
    if method == "random" or (method == "given" and not missing and not settings.folds):
        return method, "", same_sequence(sequences)
    relatives = families(sequences)
    share = np.bincount(relatives).max() / len(relatives)
    if method == "cluster" or share <= LARGEST_FAMILY:
        return "cluster" if method == "auto" else method, missing, relatives
    note = (
        f"{share:.0%} of the examples are relatives of each other, as variants of one protein are: at random"
    )
    notes = [missing, note] if missing else [note]
    return "random" if method == "auto" else method, "; ".join(notes), same_sequence(sequences)


def _missing_stages(examples: Sequence[Example], settings: SplitSettings) -> str:
    """A note about stages that no example has."""
    stages = {one.stage for one in examples}
    if "train" not in stages:
        raise UsageError(
            "no example is given for training",
            where="data.split",
            advice="Name the column of stages (data.stage_column), or split by another method.",
        )
    shares = {"val": settings.validation_share, "test": settings.test_share}
    missing = [stage for stage, share in shares.items() if share and stage not in stages]
    return f"no example has the stage {' or '.join(missing)}: cut out of train" if missing else ""


def _groups(examples: Sequence[Example]) -> Numbers:
    if not all(one.group for one in examples):
        missing = next(one for one in examples if not one.group)
        raise UsageError(
            "an example has no group to split by",
            where=missing.where,
            advice="Name the column of folds or families (data.group_column), and fill it in.",
        )
    return np.unique([one.group for one in examples], return_inverse=True)[1].astype(np.int64)
