"""Tables that translate the tensor names of a checkpoint into ours, and back.

A rule goes both ways, so reading and writing cannot disagree. `{}` stands for a layer number. A name that no rule
knows is an error: nothing is read or dropped in silence.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, equal

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
class Drop:
    """A tensor of theirs that the model has no use for."""

    theirs: str
    why: str


Rule = Rename | Shared | Tied | Drop


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

    def find(self, name: str) -> tuple[str, Rule] | None:
        """Our name (empty for a dropped one) and the rule for a name of theirs."""
        bare = self._bare(name)
        for pattern, ours, rule in self._patterns.get(_without_numbers(bare), ()):
            match = pattern.fullmatch(bare)
            if match:
                numbers = match.groups()
                return (ours.format(*numbers) if "{}" in ours else ours), rule
        return None

    def _bare(self, name: str) -> str:
        return next((name.removeprefix(start) for start in self.prefixes if name.startswith(start)), name)

    def read(self, theirs: Mapping[str, Tensor], wanted: Iterable[str], where: str) -> dict[str, Tensor]:
        """Their tensors under our names; WeightsError names what no rule knows and what is missing."""
        ours: dict[str, Tensor] = {}
        unknown: list[str] = []
        wanted = set(wanted)
        for name in theirs:
            found = self.find(name)
            if found is None:
                unknown.append(name)
                continue
            target, rule = found
            if isinstance(rule, Drop) or (
                isinstance(rule, Rename) and rule.is_spare and target not in wanted
            ):
                continue
            _place(ours, target, theirs[name], name, where, compare=not isinstance(rule, Rename))
        self._check(ours, wanted, unknown, where)
        return ours

    def _check(self, ours: dict[str, Tensor], wanted: set[str], unknown: list[str], where: str) -> None:
        unknown += sorted(set(ours) - wanted)
        if unknown:
            raise WeightsError(
                f"{len(unknown)} tensors fit nothing in the model: {some_names(unknown)}",
                where=where,
                advice="The checkpoint is of another architecture, or config.json does not belong to it.",
            )
        missing = sorted(name for name in wanted - set(ours) if not name.startswith(self.optional))
        if missing:
            raise WeightsError(
                f"{len(missing)} tensors are missing: {some_names(missing)}",
                where=where,
                advice="Fetch the checkpoint again, or check that config.json belongs to it.",
            )

    def write(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under their names."""
        reverse = [(_pattern(rule.ours), rule) for rule in self.rules if isinstance(rule, Rename | Shared)]
        layers = 1 + max((int(n) for name in ours for n in re.findall(r"\.(\d+)\.", name)), default=0)
        theirs: dict[str, Tensor] = {}
        for name, tensor in ours.items():
            matches = [(pattern.fullmatch(name), rule) for pattern, rule in reverse]
            rule, numbers = next(((rule, match.groups()) for match, rule in matches if match), (None, ()))
            if rule is None:
                raise WeightsError(f"no rule writes the tensor {name}")
            if isinstance(rule, Shared):
                theirs |= {rule.theirs.format(layer): tensor.clone() for layer in range(layers)}
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
