"""Which forward passes variants need: changed positions only, equal proteins once, each pass priced."""

import csv
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from chaperonin.errors import UsageError
from chaperonin.inference.score_windows import WINDOW_TOKENS, optimal_window, overlapping_windows

Protocol = Literal["masked-marginal", "wt-marginal", "pseudo-likelihood", "indel"]

Read = Literal["all", "own", "next"]
"""Log-probabilities kept of a position: of every residue, of its own, or (`next`) of the residue after it."""

UNIT_TOKENS = 4096
"""Masked passes of one protein are computed in groups of at most so many tokens: the grain of resuming."""

_PLAIN = "plain:"


@dataclass(frozen=True)
class Work:
    """Passes over one protein that are computed and kept together."""

    key: str
    payload: dict[str, Any]
    passes: int
    tokens: int


@dataclass(frozen=True)
class TokenPlan:
    """Forward passes and tokens to run, beside those of ProteinGym's script for the same scores."""

    passes: int = 0
    tokens: int = 0
    official_passes: int = 0
    official_tokens: int = 0

    def __add__(self, other: "TokenPlan") -> "TokenPlan":
        return TokenPlan(
            self.passes + other.passes,
            self.tokens + other.tokens,
            self.official_passes + other.official_passes,
            self.official_tokens + other.official_tokens,
        )

    def __str__(self) -> str:
        text = f"{self.passes:,} forward passes, {self.tokens:,} tokens"
        if not self.official_tokens:
            return text
        ratio = f" ({self.official_tokens / self.tokens:,.2f}x as many)" if self.tokens else ""
        official = f"{self.official_passes:,} passes, {self.official_tokens:,} tokens{ratio}"
        return f"{text}; ProteinGym's script: {official}"


def digest(sequence: str) -> str:
    """Short name of a sequence in keys."""
    return sha256(sequence.encode()).hexdigest()[:24]


def masked_work(
    sequence: str,
    positions: Iterable[int],
    read: Read = "all",
    whole: bool = False,
    unit_tokens: int = UNIT_TOKENS,
) -> Iterator[Work]:
    """One pass for each position (index of a residue), masked there; `whole` means without a window.

    Passes are grouped up to `unit_tokens` tokens, or one that is longer; those of a long protein only where their
    windows lie close together, so that what a unit holds of the sequence does not grow with the protein.
    """
    length = len(sequence) + 2
    tokens = length if whole else min(length, WINDOW_TOKENS)
    name = f"{read}:{digest(sequence)}"
    for group in _groups(sorted(positions), max(unit_tokens // tokens, 1), whole or length == tokens):
        start = 0 if whole else optimal_window(group[0] + 1, length)[0]
        stop = length if whole else optimal_window(group[-1] + 1, length)[1]
        payload = _piece(sequence, start, stop)
        payload |= {"positions": group, "masked": True, "read": read, "whole": whole}
        yield Work(f"{name}:{group[0]}", payload, len(group), len(group) * tokens)


def _groups(ordered: list[int], size: int, anywhere: bool) -> Iterator[list[int]]:
    """At most `size` positions each, and within the length of a window of each other unless `anywhere`."""
    group: list[int] = []
    for position in ordered:
        if group and (len(group) == size or not (anywhere or position - group[0] < WINDOW_TOKENS)):
            yield group
            group = []
        group.append(position)
    if group:
        yield group


def _piece(sequence: str, start: int, stop: int) -> dict[str, Any]:
    """The residues that the tokens `start` … `stop` of `<cls> sequence <eos>` need, and where they stand in it."""
    first = max(start - 1, 0)
    return {"sequence": sequence[first : max(stop - 1, 0)], "first": first, "length": len(sequence) + 2}


def plain_work(sequence: str, positions: Iterable[int] | None = None, read: Read = "all") -> Iterator[Work]:
    """One pass without a mask, or one for each overlapping window; all positions unless some are named."""
    wanted = range(len(sequence)) if positions is None else sorted(positions)
    name = f"{_PLAIN}{read}:{digest(sequence)}"
    for start, stop in overlapping_windows(len(sequence) + 2):
        inside = list(wanted[bisect_left(wanted, start - 1) : bisect_left(wanted, stop - 1)])
        if inside:
            payload = _piece(sequence, start, stop)
            payload |= {"positions": inside, "masked": False, "read": read, "start": start, "stop": stop}
            yield Work(f"{name}:{start}", payload, 1, stop - start)


def keys_of(sequence: str, keys: Iterable[str]) -> list[str]:
    """Those of the keys that name passes over the sequence."""
    name = f":{digest(sequence)}:"
    return [key for key in keys if name in key]


def is_plain(key: str) -> bool:
    """Whether the key names a pass without a mask, whose window others may overlap."""
    return key.startswith(_PLAIN)


def pseudo_likelihood_work(
    sequence: str, official: bool = False, unit_tokens: int = UNIT_TOKENS
) -> Iterator[Work]:
    """Every position masked in turn.

    ProteinGym's script masks residues 1 to L-2 without any window, and reads at each the residue after it.
    """
    if official:
        positions = range(len(sequence) - 2)
        return masked_work(sequence, positions, "next", whole=True, unit_tokens=unit_tokens)
    return masked_work(sequence, range(len(sequence)), "own", unit_tokens=unit_tokens)


def official_cost(protocol: Protocol, sequence: str) -> TokenPlan:
    """What ProteinGym's script runs: for one assay's target, or (pseudo-likelihood) for one row."""
    length = len(sequence) + 2
    if protocol == "masked-marginal":
        return TokenPlan(0, 0, length, length * min(length, WINDOW_TOKENS))
    if protocol == "wt-marginal":
        spans = overlapping_windows(length)
        return TokenPlan(0, 0, len(spans), sum(stop - start for start, stop in spans))
    if protocol == "pseudo-likelihood":
        passes = max(len(sequence) - 2, 0)
        return TokenPlan(0, 0, passes, passes * length)
    return TokenPlan()


def plan_tokens(assays: Iterable[tuple[str, Collection[int]]]) -> TokenPlan:
    """Cost of masked marginals over assays, each a target and its changed positions (indices of residues)."""
    targets: dict[str, set[int]] = {}
    total = TokenPlan()
    for sequence, positions in assays:
        targets.setdefault(sequence, set()).update(positions)
        total += official_cost("masked-marginal", sequence)
    for sequence, union in targets.items():
        for work in masked_work(sequence, union):
            total += TokenPlan(work.passes, work.tokens)
    return total


def read_reference(path: Path) -> dict[str, Mapping[str, str]]:
    """Rows of a ProteinGym reference file (`DMS_substitutions.csv`, `DMS_indels.csv`) by DMS_id."""
    csv.field_size_limit(1 << 24)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot be read as a reference file ({error})", where=str(path)) from error
    missing = {"DMS_id", "target_seq"} - set(rows[0] if rows else ())
    if missing:
        raise UsageError(
            f"has no column {' and no column '.join(sorted(missing))}",
            where=str(path),
            advice="Give ProteinGym's DMS_substitutions.csv or DMS_indels.csv.",
        )
    return {row["DMS_id"]: row for row in rows}


def mutated_region(row: Mapping[str, str]) -> range:
    """Indices of the residues that an assay covers, from the column `region_mutated` of the reference."""
    first, _, last = row.get("region_mutated", "").partition("-")
    if not (first.isdigit() and last.isdigit()):
        return range(len(row["target_seq"]))
    return range(int(first) - 1, min(int(last), len(row["target_seq"])))
