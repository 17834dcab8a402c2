"""Tables that translate the tensor names of a checkpoint into ours, and back.

A rule goes both ways, so reading and writing cannot disagree. `{}` stands for a layer number. A name that no rule
knows is an error: nothing is read or dropped in silence.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, equal, stack

from chaperonin.errors import WeightsError


@dataclass(frozen=True)
class Rename:
    """One tensor of theirs is one of ours. Other spellings (`also`) are read, never written."""

    theirs: str
    ours: str
    also: tuple[str, ...] = ()
    is_spare: bool = False
    """Whether checkpoints may hold it although their configuration has no use for it."""


@dataclass(frozen=True)
class Shared:
    """One tensor of ours that theirs repeats, equal, in every layer."""

    theirs: str
    ours: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tied:
    """A second name of theirs for a tensor of ours: read and compared, never written."""

    theirs: str
    ours: str


@dataclass(frozen=True)
class Stacked:
    """Tensors of theirs, one per expert, that are one tensor of ours with the experts along its first axis.

    The last number in their name is the expert's.
    """

    theirs: str
    ours: str


@dataclass(frozen=True)
class Drop:
    """A tensor of theirs that the model has no use for."""

    theirs: str
    why: str


Rule = Rename | Shared | Tied | Stacked | Drop


class Found(NamedTuple):
    """What a name of theirs is to us."""

    ours: str
    """Our name; empty for a dropped one."""
    rule: Rule
    part: int | None
    """Which of the stacked tensors it is."""


@dataclass(frozen=True)
class Table:
    """The rules of one kind of checkpoint."""

    rules: tuple[Rule, ...]
    optional: tuple[str, ...] = ()
    """Beginnings of our names that a checkpoint may lack."""
    prefixes: tuple[str, ...] = ()
    """Beginnings that some files have and others lack: they do not count in reading."""
    _patterns: dict[str, list[tuple[re.Pattern[str], str, Rule]]] = field(
        init=False, repr=False, compare=False
    )
    """By what a name is without its numbers: a checkpoint has thousands of names."""

    def __post_init__(self) -> None:
        patterns: dict[str, list[tuple[re.Pattern[str], str, Rule]]] = {}
        for rule in self.rules:
            for name in map(self._bare, (rule.theirs, *getattr(rule, "also", ()))):
                own = (_pattern(name), getattr(rule, "ours", ""), rule)
                patterns.setdefault(_without_numbers(name), []).append(own)
        object.__setattr__(self, "_patterns", patterns)

    @property
    def stacks(self) -> bool:
        """Whether it is of mixtures of experts, which may be larger than the memory."""
        return any(isinstance(rule, Stacked) for rule in self.rules)

    def find(self, name: str) -> Found | None:
        """What a name of theirs is to us; None for one that no rule knows."""
        bare = self._bare(name)
        for pattern, ours, rule in self._patterns.get(_without_numbers(bare), ()):
            match = pattern.fullmatch(bare)
            if match:
                numbers = match.groups()
                part = int(numbers[-1]) if isinstance(rule, Stacked) else None
                return Found(ours.format(*numbers) if "{}" in ours else ours, rule, part)
        return None

    def _bare(self, name: str) -> str:
        return next((name.removeprefix(start) for start in self.prefixes if name.startswith(start)), name)

    def read(
        self, theirs: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str
    ) -> dict[str, Tensor]:
        """Their tensors under our names; `wanted`: the model's, of whatever device.

        WeightsError names what no rule knows and what is missing.
        """
        ours: dict[str, Tensor] = {}
        unknown: list[str] = []
        parts: dict[str, dict[int, str]] = {}
        for name in theirs:
            found = self.find(name)
            if found is None or (found.part is not None and found.ours not in wanted):
                unknown.append(name)
            elif found.part is not None:
                parts.setdefault(found.ours, {})[found.part] = name
            elif self.is_needed(found, wanted):
                compare = not isinstance(found.rule, Rename)
                _place(ours, found.ours, theirs[name], name, where, compare=compare)
        for target, names in parts.items():
            self.require_parts(target, names, len(wanted[target]), where)
            ours[target] = stack([theirs[names[part]] for part in sorted(names)])
        self.check(ours, wanted, unknown, where)
        return ours

    def is_needed(self, found: Found, wanted: Container[str]) -> bool:
        """Whether the model has a use for it."""
        if isinstance(found.rule, Drop):
            return False
        return found.ours in wanted or not (isinstance(found.rule, Rename) and found.rule.is_spare)

    def require_parts(self, target: str, names: Mapping[int, str], count: int, where: str) -> None:
        """WeightsError that names an expert too many, or one that is missing, of a stacked tensor of ours."""
        beyond = [names[part] for part in sorted(names) if part >= count]
        if beyond:
            raise WeightsError(
                f"{beyond[0]} is of one expert more than config.json says: {count}, 0 to {count - 1}",
                where=where,
                advice="The checkpoint is of another architecture, or config.json does not belong to it.",
            )
        missing = [part for part in range(count) if part not in names]
        if missing:
            present = next(iter(names.values()))
            start, _, end = present.rpartition(".")
            raise WeightsError(
                f"{start.rstrip('0123456789')}{missing[0]}.{end} is missing: expert {missing[0]} of {count}",
                where=where,
                advice="Fetch the checkpoint again, or check that config.json belongs to it.",
            )

    def check(self, ours: Iterable[str], wanted: Iterable[str], unknown: Iterable[str], where: str) -> None:
        """WeightsError unless the names that were read are those that the model wants, and every name is known.

        A head that a checkpoint may lack (`optional`) is lacking only where none of its tensors is there.
        """
        ours, wanted = set(ours), set(wanted)
        unknown = [*unknown, *sorted(ours - wanted)]
        if unknown:
            raise WeightsError(
                f"{len(unknown)} tensors fit nothing in the model: {some_names(unknown)}",
                where=where,
                advice="The checkpoint is of another architecture, or config.json does not belong to it.",
            )
        absent = tuple(start for start in self.optional if not any(name.startswith(start) for name in ours))
        missing = sorted(name for name in wanted - ours if not name.startswith(absent))
        if missing:
            raise WeightsError(
                f"{len(missing)} tensors are missing: {some_names(missing)}",
                where=where,
                advice="Fetch the checkpoint again, or check that config.json belongs to it.",
            )

    def write(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under their names."""
        written = (Rename, Shared, Stacked)
        reverse = [(_pattern(rule.ours), rule) for rule in self.rules if isinstance(rule, written)]
        layers = 1 + max((int(n) for name in ours for n in re.findall(r"\.(\d+)\.", name)), default=0)
        theirs: dict[str, Tensor] = {}
        for name, tensor in ours.items():
            matches = [(pattern.fullmatch(name), rule) for pattern, rule in reverse]
            rule, numbers = next(((rule, match.groups()) for match, rule in matches if match), (None, ()))
            if rule is None:
                raise WeightsError(f"no rule writes the tensor {name}")
            if isinstance(rule, Shared):
                theirs |= {rule.theirs.format(layer): tensor.clone() for layer in range(layers)}
            elif isinstance(rule, Stacked):
                theirs |= {rule.theirs.format(*numbers, part): own for part, own in enumerate(tensor)}
            else:
                theirs[rule.theirs.format(*numbers)] = tensor
        return theirs


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+|\{\}", "#", name)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))


def _place(
    ours: dict[str, Tensor], target: str, tensor: Tensor, name: str, where: str, *, compare: bool
) -> None:
    if target not in ours:
        ours[target] = tensor
    elif not compare or not equal(ours[target], tensor):
        raise WeightsError(f"{name} says something else than another tensor for {target}", where=where)


def some_names(names: Sequence[str]) -> str:
    """The first five."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
