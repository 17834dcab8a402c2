"""Several LoRA adapters over one base: every sequence of a packed batch gets its own, or none.

The base stays as `prepare` made it (packed fp32, bf16, int8, or plain) and in memory once. While adapters are selected,
the layers that they add to are wrapped; with none selected nothing of this is in the way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chaperonin.adapt.inference import FEED_FORWARD_ROWS, InferenceAttention, InferenceFeedForward
from chaperonin.adapt.lora import check_shape
from chaperonin.adapt.lora_files import Adapter, own_tensors
from chaperonin.errors import UsageError, WeightsError
from chaperonin.kernels.linear.reference import ACTIVATIONS
from chaperonin.kernels.segments import Segments
from chaperonin.layers.attention import Attention
from chaperonin.layers.language import LanguageModel
from chaperonin.models.esm.model import FeedForward

Rows = slice | Tensor
"""Tokens of a stream: neighbours, or their numbers."""


class AdapterBank:
    """Adapters by name, over one model; for one thread at a time.

    with bank.select(["membrane", None, "localization"], segments):
        hidden = model(tokens, segments)
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._places = _places(model)
        self._additions: dict[str, dict[str, list[Addition]]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters in the bank, in the order in which they came."""
        return tuple(self._additions)

    def add(self, name: str, adapter: Adapter) -> None:
        """Take an adapter in; a batch that is running does not see it.

        Raises UsageError for a name that is taken, WeightsError for an adapter of another model.
        """
        if name in self._additions:
            raise UsageError(f"there is an adapter {name!r} already", advice="Remove it first.")
        if own := own_tensors(adapter):
            raise WeightsError(
                f"the adapter replaces {next(iter(own))} of the model, which others share",
                where=name,
                advice="Merge it into a model of its own.",
            )
        additions: dict[str, list[Addition]] = {}
        for module, (down, up) in adapter.tensors.items():
            place = self._places.get(module)
            if place is None:
                raise WeightsError(f"the model has no linear layer {module}", where=name)
            check_shape(module, down, up, place.shape)
            scaled = place.arrange(adapter.scale_of(module) * up)
            own_down, own_up = (half.to(place.like).contiguous() for half in (down, scaled))
            additions.setdefault(place.path, []).append(Addition(place.part, place.columns, own_down, own_up))
        self._additions[name] = additions

    def remove(self, name: str) -> None:
        """Let an adapter go; a batch that has selected it ends with it. Raises UsageError for an unknown name."""
        self._known(name)
        del self._additions[name]

    @contextmanager
    def select(self, names: Sequence[str | None], segments: Segments) -> Iterator[None]:
        """Within the block the model adds to each segment what its adapter says; None is the base alone.

        The model may be called with these segments only. Raises UsageError for an unknown name.
        """
        if len(names) != len(segments):
            raise UsageError(f"{len(names)} names of adapters for {len(segments)} sequences")
        device = self._model.embedding.word.weight.device
        chosen: dict[str, list[Chosen]] = {}
        for name in dict.fromkeys(name for name in names if name is not None):
            has = np.repeat([other == name for other in names], segments.lengths)
            rows = _numbers(has, device)
            for path, additions in self._known(name).items():
                chosen.setdefault(path, []).append(Chosen(rows, additions))
        before = {path: self._model.get_submodule(path) for path in chosen}
        try:
            for path, layer in before.items():
                self._model.set_submodule(path, _wrap(layer, chosen[path], segments))
            yield
        finally:
            for path, layer in before.items():
                self._model.set_submodule(path, layer)

    def _known(self, name: str) -> dict[str, list["Addition"]]:
        if name not in self._additions:
            there = ", ".join(self._additions) or "none"
            raise UsageError(f"there is no adapter {name!r}", advice=f"There are: {there}.")
        return self._additions[name]


@dataclass(frozen=True)
class Addition:
    """What one adapter adds to one product: x downᵀ upᵀ, the scale within `up`."""

    part: str
    """Which of the layers in the place: `up` or `down` of a feed-forward, empty where there is one."""
    columns: slice
    """Columns of the product that it belongs to."""
    down: Tensor
    up: Tensor

    def add(self, product: Tensor, x: Tensor, rows: Rows) -> None:
        """Add, in place, to those rows of the product that were made of the rows `x`."""
        low = x.to(self.down.dtype) @ self.down.T
        columns = product[:, self.columns]
        if isinstance(rows, slice):
            columns[rows].addmm_(low, self.up.T)
        else:
            columns.index_add_(0, rows, low @ self.up.T)


@dataclass(frozen=True)
class Chosen:
    """The additions of one adapter in one place, and the tokens that get them."""

    rows: Rows
    additions: list[Addition]


class AdaptedLinear(nn.Module):
    """A linear layer, plain or prepared, with additions to some rows of its product."""

    def __init__(self, layer: nn.Module, chosen: list[Chosen]) -> None:
        super().__init__()
        self.layer = layer
        self.chosen = chosen

    def forward(self, x: Tensor) -> Tensor:
        """The layer's product and the additions; whoever wants an activation or a residual adds them after."""
        product: Tensor = self.layer(x)
        for chosen in self.chosen:
            own = x[chosen.rows]
            for addition in chosen.additions:
                addition.add(product, own, chosen.rows)
        return product


class AdaptedFeedForward(nn.Module):
    """A prepared feed-forward that takes the rows of every adapter, and the rest, by themselves."""

    def __init__(self, layer: InferenceFeedForward, chosen: list[Chosen], segments: Segments) -> None:
        super().__init__()
        self.layer = layer
        self.chosen = chosen
        is_rest = torch.ones(segments.total, dtype=torch.bool)
        for one in chosen:
            is_rest[one.rows] = False
        self.rest = _numbers(is_rest.numpy(), chosen[0].additions[0].down.device)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """down(gelu(up(x))) + residual, both products with what is added to them."""
        result = torch.empty_like(residual)
        if self.rest != slice(0, 0):
            result[self.rest] = self.layer(x[self.rest], residual[self.rest])
        for chosen in self.chosen:
            own, kept = x[chosen.rows], residual[chosen.rows]
            products = [self._block(block, chosen.additions) for block in own.split(FEED_FORWARD_ROWS)]
            result[chosen.rows] = torch.cat(products).add_(kept)
        return result

    def _block(self, x: Tensor, additions: list[Addition]) -> Tensor:
        """down(gelu(up(x))) of a few rows: the wide inner activation never exists as a whole."""
        inner = self._product("up", x, additions)
        return self._product("down", ACTIVATIONS["gelu"](inner), additions)

    def _product(self, part: str, x: Tensor, additions: list[Addition]) -> Tensor:
        product: Tensor = getattr(self.layer, part)(x)
        for addition in additions:
            if addition.part == part:
                addition.add(product, x, slice(None))
        return product


@dataclass(frozen=True)
class Place:
    """Where in the model the product of a linear layer is made."""

    path: str
    part: str
    columns: slice
    shape: tuple[int, int]
    """Channels in and out."""
    like: Tensor
    """Device and dtype of what is added."""
    arrange: Callable[[Tensor], Tensor]
    """Rows of B as the product has its columns."""


def _places(model: LanguageModel) -> dict[str, Place]:
    """Name of each linear layer in the plain model → its place in this one."""
    places: dict[str, Place] = {}
    width = model.config.width
    inner = model.config.inner_width
    like = model.embedding.word.weight
    shapes = {"up": (width, inner), "down": (inner, width)}
    for name, module in model.named_modules():
        if isinstance(module, InferenceAttention):
            for number, (role, part) in enumerate(zip("qkv", ("query", "key", "value"), strict=True)):
                columns = slice(number * width, (number + 1) * width)
                places[f"{name}.project.{part}"] = Place(
                    f"{name}.project",
                    "",
                    columns,
                    (width, width),
                    like,
                    partial(module.arrange, role),
                )
            places[f"{name}.out"] = _alone(f"{name}.out", (width, width), like)
        elif isinstance(module, InferenceFeedForward):
            for part, shape in shapes.items():
                places[f"{name}.{part}"] = Place(name, part, slice(None), shape, like, _as_it_is)
        elif isinstance(module, Attention | FeedForward):
            for child, layer in module.named_modules():
                if isinstance(layer, nn.Linear):
                    path = f"{name}.{child}"
                    places[path] = _alone(path, (layer.in_features, layer.out_features), like)
    return places


def _alone(path: str, shape: tuple[int, int], like: Tensor) -> Place:
    """A linear layer that makes a product of its own."""
    return Place(path, "", slice(None), shape, like, _as_it_is)


def _as_it_is(rows: Tensor) -> Tensor:
    return rows


def _wrap(layer: nn.Module, chosen: list[Chosen], segments: Segments) -> nn.Module:
    if isinstance(layer, InferenceFeedForward):
        return AdaptedFeedForward(layer, chosen, segments)
    return AdaptedLinear(layer, chosen)


def _numbers(has: NDArray[np.bool_], device: torch.device) -> Rows:
    """Numbers of the rows that have it: a slice, which copies nothing, where they are neighbours."""
    numbers = np.flatnonzero(has)
    if not len(numbers):
        return slice(0, 0)
    first, end = int(numbers[0]), int(numbers[-1]) + 1
    return slice(first, end) if end - first == len(numbers) else torch.from_numpy(numbers).to(device)
