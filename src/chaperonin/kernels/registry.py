"""Choose the body of an operation by what its arguments are.

A body says what it supports by looking at device, dtype, shape and gradient only. The first body in the
operation's order that supports the arguments runs. A body that was asked for by name and cannot run raises: there
is no silent second choice. A plain dict holds what was asked for (a ContextVar breaks torch.compile).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from chaperonin.errors import UnavailableError


@dataclass(frozen=True)
class Body:
    """One way to compute an operation."""

    name: str
    run: Callable[..., Any]
    supports: Callable[..., bool]
    note: str
    """Where it is used and why, for `chaperonin doctor`."""
    lacks: Callable[[], str]
    """What this machine or this PyTorch is missing for it; an empty text when nothing."""


class Operation:
    """A callable with one contract and several bodies, in order of preference; the reference comes last."""

    def __init__(self, name: str, order: tuple[str, ...]) -> None:
        self.name = name
        self.order = order
        self.bodies: dict[str, Body] = {}
        OPERATIONS[name] = self

    def register(self, module: ModuleType) -> None:
        """Add the body that a module holds: NAME, NOTE, `supports`, `lacks` and a function named as the operation.

        Its name must stand in the operation's order.
        """
        if module.NAME not in self.order:
            raise ValueError(f"kernel {module.NAME!r} is not in the order of {self.name}: {self.order}")
        run = getattr(module, self.name)
        self.bodies[module.NAME] = Body(module.NAME, run, module.supports, module.NOTE, module.lacks)

    def choose(self, *arguments: Any) -> Body:
        """The body that these arguments get."""
        body = self._choose(*arguments)
        for seen in _watched:
            seen.setdefault(self.name, set()).add(body.name)
        return body

    def _choose(self, *arguments: Any) -> Body:
        asked = _asked.get(self.name)
        if asked is not None:
            body = self.bodies[asked]
            if not body.supports(*arguments):
                raise UnavailableError(
                    f"kernel {asked!r} of {self.name} cannot take these arguments"
                    f" ({body.lacks() or body.note})",
                    advice=f"Choose one of {', '.join(self.order)}, or none to let the machine decide.",
                )
            return body
        for name in self.order:
            body = self.bodies[name]
            if body.supports(*arguments):
                return body
        raise UnavailableError(
            f"no kernel of {self.name} supports these arguments",
            advice="A model prepared for inference takes its own dtype and device only, under inference_mode().",
        )

    def __call__(self, *arguments: Any) -> Any:
        """Run the chosen body."""
        return self.choose(*arguments).run(*arguments)


OPERATIONS: dict[str, Operation] = {}
_asked: dict[str, str] = {}
_watched: list[dict[str, set[str]]] = []


@contextmanager
def watch() -> Iterator[dict[str, set[str]]]:
    """Operation → names of the bodies that are chosen for it inside: `with watch() as chosen: …`."""
    chosen: dict[str, set[str]] = {}
    _watched.append(chosen)
    try:
        yield chosen
    finally:
        _watched[:] = [other for other in _watched if other is not chosen]


@contextmanager
def use(**kernels: str) -> Iterator[None]:
    """Ask for bodies by name: `with use(attention="reference"): …`."""
    for operation, name in kernels.items():
        if operation not in OPERATIONS:
            raise UnavailableError(
                f"no operation {operation!r}", advice=f"There are: {', '.join(OPERATIONS)}."
            )
        if name not in OPERATIONS[operation].bodies:
            raise UnavailableError(
                f"{operation} has no kernel {name!r}",
                advice=f"There are: {', '.join(OPERATIONS[operation].bodies)}.",
            )
        if missing := OPERATIONS[operation].bodies[name].lacks():
            raise UnavailableError(f"kernel {name!r} of {operation} cannot run here: {missing}")
    before = dict(_asked)
    _asked.update(kernels)
    try:
        yield
    finally:
        _asked.clear()
        _asked.update(before)
