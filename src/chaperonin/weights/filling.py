"""A model's own memory filled from the files, a few rows at a time: nothing of a tensor is held twice.

For models that fill most of the memory: the peak is the model, in whatever precision it is kept, and one block of rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from chaperonin.errors import WeightsError
from chaperonin.weights.files import Stored, index_problems, stored, weight_files
from chaperonin.weights.rules import Table, Tied

BLOCK_BYTES = 1 << 20
"""Of a tensor in its file, what is read at once."""


@dataclass(frozen=True)
class Place:
    """A tensor of the files and where it belongs."""

    stored: Stored
    ours: str
    part: int | None
    """Which of the tensors that ours stacks; None: it is the whole of it."""


@runtime_checkable
class Receiver(Protocol):
    """A module that keeps a weight in another form than its file."""

    def receive(self, part: int | None, first: int, rows: Tensor) -> None:
        """Take rows of the weight, from row `first` on, of one group where there are several."""
        ...


def find_places(table: Table, folder: Path, model: nn.Module) -> list[Place]:
    """Where each tensor of a model folder belongs, from the headers alone; `model` is plain, and may take no memory.

    WeightsError names what is missing, too many, of another shape, or not where the index says.
    """
    files = weight_files(folder)
    found = list(stored(files))
    _require_index(folder, found)
    wanted = dict(model.named_parameters())
    places: list[Place] = []
    unknown: list[str] = []
    parts: dict[str, dict[int, str]] = {}
    for own in found:
        match = table.find(own.name)
        if match is None or (match.part is not None and match.ours not in wanted):
            unknown.append(own.name)
        elif table.is_needed(match, wanted) and not isinstance(match.rule, Tied):
            places.append(Place(own, match.ours, match.part))
            if match.part is not None:
                parts.setdefault(match.ours, {})[match.part] = own.name
    for target, names in parts.items():
        table.require_parts(target, names, len(wanted[target]), str(folder))
    table.check({place.ours for place in places}, wanted, unknown, str(folder))
    for place in places:
        _require_fit(place, wanted[place.ours], str(folder))
    _require_once(places, str(folder))
    return places


@torch.no_grad()
def fill(model: nn.Module, places: list[Place]) -> None:
    """Copy the tensors into the model's parameters, whatever their type and device."""
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    for place in places:
        owner, _, leaf = place.ours.rpartition(".")
        module = modules[owner]
        for first, rows in _blocks(place.stored):
            if leaf == "weight" and isinstance(module, Receiver):
                module.receive(place.part, first, rows)
                continue
            target = parameters[place.ours].detach()
            target = target if place.part is None else target[place.part]
            (target[first : first + len(rows)] if rows.dim() else target).copy_(rows)


def _blocks(own: Stored) -> Iterator[tuple[int, Tensor]]:
    """First row and rows, all numbers finite."""
    if not own.shape:
        yield 0, own.read()
        return
    row_bytes = max(1, own.dtype.itemsize * torch.Size(own.shape[1:]).numel())
    step = max(1, BLOCK_BYTES // row_bytes)
    for first in range(0, own.shape[0], step):
        rows = own.rows(first, min(first + step, own.shape[0]))
        # A sum is finite only where every number is: a fraction of the time of asking each.
        if not rows.sum(dtype=torch.float32).isfinite() and not rows.isfinite().all():
            raise WeightsError(
                f"{own.name} holds numbers that are NaN or infinite",
                where=str(own.path),
                advice="Fetch the file again; `chaperonin weights verify` looks at all of them.",
            )
        yield first, rows


def _require_index(folder: Path, found: list[Stored]) -> None:
    headers: dict[str, list[str]] = {}
    for own in found:
        headers.setdefault(own.path.name, []).append(own.name)
    problem = next(index_problems(folder, headers), None)
    if problem is not None:
        raise WeightsError(problem, where=str(folder), advice="Fetch the checkpoint again.")


def _require_fit(place: Place, wanted: Tensor, where: str) -> None:
    shape = tuple(wanted.shape if place.part is None else wanted.shape[1:])
    if place.stored.shape != shape:
        raise WeightsError(
            f"{place.stored.name} is {list(place.stored.shape)}, config.json makes it {list(shape)}",
            where=where,
            advice="config.json and the weights belong to different models.",
        )
    if not place.stored.dtype.is_floating_point:
        raise WeightsError(
            f"{place.stored.name} holds {place.stored.dtype}, not floating-point numbers", where=where
        )


def _require_once(places: list[Place], where: str) -> None:
    seen: dict[tuple[str, int | None], Place] = {}
    for place in places:
        first = seen.setdefault((place.ours, place.part), place)
        if first is not place:
            raise WeightsError(
                f"{first.stored.name} and {place.stored.name} are two spellings of one tensor",
                where=where,
                advice="Fetch the checkpoint again.",
            )


def share_of(places: list[Place], start: str) -> list[Place]:
    """The places whose names of ours begin so, without that beginning: those of one module."""
    return [
        Place(place.stored, place.ours.removeprefix(start), place.part)
        for place in places
        if place.ours.startswith(start)
    ]
