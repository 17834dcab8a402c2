"""Tables for checkpoints that stack, cut and turn tensors otherwise than we do; each goes both ways, bit for bit.

A piece is one tensor of theirs and where it lies in ours. Where our name has `{}`, a layer's number, and theirs has
none, theirs holds all layers along a first axis.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from chaperonin.errors import WeightsError
from chaperonin.weights.rules import some_names


@dataclass(frozen=True)
class Form:
    """How one tensor of theirs (of one layer) becomes ours."""

    turned: bool = False
    """Theirs is `[inputs, outputs]`, ours `[outputs, inputs]`."""
    inputs: tuple[int, ...] = ()
    """Axes into which theirs cuts its inputs, the last one left out: `(heads,)` of `[heads, head_dim, outputs]`."""
    outputs: tuple[int, ...] = ()
    """The same of its outputs, or of a vector."""
    rows: int = 0
    """Into how many rows ours cuts what is one vector in theirs; 0: not at all."""

    def ours(self, theirs: Tensor) -> Tensor:
        """Theirs as we hold it."""
        if self.rows:
            return theirs.unflatten(0, (self.rows, -1))
        if not self.turned:
            return theirs.flatten(0, len(self.outputs)) if self.outputs else theirs
        split = 1 + len(self.inputs)
        return theirs.reshape(prod(theirs.shape[:split]), -1).T

    def theirs(self, ours: Tensor) -> Tensor:
        """The way back."""
        if self.rows:
            return ours.flatten()
        if not self.turned:
            return ours.unflatten(0, (*self.outputs, -1)) if self.outputs else ours
        inputs = [*self.inputs, ours.shape[1] // prod(self.inputs)]
        outputs = [*self.outputs, ours.shape[0] // prod(self.outputs)]
        return ours.T.reshape(*inputs, *outputs)


@dataclass(frozen=True)
class Piece:
    """One tensor of theirs."""

    theirs: str
    ours: str
    form: Form = Form()
    part: int = 0
    """Which of `parts` equal ones along our first axis it is, or the first of `span` that it holds."""
    parts: int = 1
    span: int = 1

    @property
    def stacked(self) -> bool:
        """Whether theirs holds all layers."""
        return "{}" in self.ours and "{}" not in self.theirs

    def names(self, layers: int) -> list[str]:
        """Theirs, of so many layers of ours."""
        return [self.theirs] if self.stacked else [self.theirs.format(layer) for layer in range(layers)]

    def of(self, ours: Tensor) -> Tensor:
        """Theirs, cut from ours."""
        size = len(ours) // self.parts if self.parts > 1 else len(ours)
        return self.form.theirs(ours.narrow(0, self.part * size, self.span * size))


@dataclass(frozen=True)
class PieceTable:
    """All pieces of one kind of checkpoint."""

    pieces: tuple[Piece, ...]

    def read(
        self, theirs: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str
    ) -> dict[str, Tensor]:
        """Their tensors under our names; `wanted`: the model's, of whatever device.

        WeightsError names what no piece knows, what is missing, and what has another shape.
        """
        needed = [(piece, layers, piece.names(len(layers))) for piece, layers in self._needed(wanted)]
        known = {name for _, _, names in needed for name in names}
        _require_all(sorted(set(theirs) - known), sorted(known - set(theirs)), where)
        parts: dict[str, dict[int, Tensor]] = {}
        for piece, layers, names in needed:
            shape = _shape(piece, wanted, len(layers))
            for name in names:
                _require_shape(name, theirs[name], shape, where)
            tensors = theirs[names[0]] if piece.stacked else [theirs[name] for name in names]
            for layer, tensor in zip(layers, tensors, strict=True):
                parts.setdefault(piece.ours.format(layer), {})[piece.part] = piece.form.ours(tensor)
        return {name: _joined(own) for name, own in parts.items()}

    def write(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our tensors under their names, contiguous."""
        theirs: dict[str, Tensor] = {}
        for piece, layers in self._needed(ours):
            tensors = [piece.of(ours[piece.ours.format(layer)]) for layer in layers]
            if piece.stacked:
                theirs[piece.theirs] = torch.stack(tensors)
            else:
                names = piece.names(len(layers))
                theirs |= {name: own.contiguous() for name, own in zip(names, tensors, strict=True)}
        return theirs

    def _needed(self, ours: Mapping[str, Tensor]) -> Iterable[tuple[Piece, list[int]]]:
        """Pieces of tensors that the model has, with the numbers of their layers."""
        for piece in self.pieces:
            if "{}" not in piece.ours:
                if piece.ours in ours:
                    yield piece, [0]
                continue
            layers = 0
            while piece.ours.format(layers) in ours:
                layers += 1
            if layers:
                yield piece, list(range(layers))


def _require_all(unknown: list[str], missing: list[str], where: str) -> None:
    if unknown:
        raise WeightsError(
            f"{len(unknown)} tensors fit nothing in the model: {some_names(unknown)}",
            where=where,
            advice="The checkpoint is of another model, or the wrong name was given for it.",
        )
    if missing:
        raise WeightsError(
            f"{len(missing)} tensors are missing: {some_names(missing)}",
            where=where,
            advice="Fetch the checkpoint again, or check that it is the model that was named.",
        )


def _shape(piece: Piece, wanted: Mapping[str, Tensor], layers: int) -> list[int]:
    """What theirs must be; all layers are alike."""
    ours = torch.empty(()).expand(wanted[piece.ours.format(0)].shape)  # a shape without memory
    own = list(piece.of(ours).shape)
    return [layers, *own] if piece.stacked else own


def _require_shape(name: str, tensor: Tensor, shape: list[int], where: str) -> None:
    if list(tensor.shape) != shape:
        raise WeightsError(
            f"{name} is {list(tensor.shape)}, and the model needs {shape}",
            where=where,
            advice="The checkpoint is of another model, or the wrong name was given for it.",
        )


def _joined(parts: dict[int, Tensor]) -> Tensor:
    tensors = [parts[number] for number in sorted(parts)]
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0].contiguous()
