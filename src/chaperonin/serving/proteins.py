"""The sequences of a request, under the input policy: those that can be computed, and why the others cannot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaperonin.errors import ChaperoninError, InputError
from chaperonin.protein.sequence import clean
from chaperonin.serving.errors import Refusal, failure_of
from chaperonin.serving.schemas import Named
from chaperonin.serving.settings import Limits


@dataclass(frozen=True)
class Protein:
    """A sequence that can be computed, and where it stood in the request."""

    index: int
    id: str
    sequence: str
    notes: tuple[str, ...]

    def head(self) -> dict[str, Any]:
        """What an answer says of it first."""
        return {"id": self.id, "length": len(self.sequence), "notes": list(self.notes)}


@dataclass(frozen=True)
class Proteins:
    """The sequences of a request: those that can be computed, and why the others cannot."""

    good: list[Protein]
    failures: list[dict[str, Any]]

    def require_one(self) -> None:
        """Refusal (422) where nothing can be computed."""
        if not self.good:
            first = self.failures[0]
            raise Refusal(
                422, "input", f"No sequence can be used. The first: {first['error']}.", details=self.failures
            )


def read_proteins(given: Iterable[str | Named], limits: Limits) -> Proteins:
    """The sequences of a request under the input policy. Equal ids get a number; too many are a Refusal (413)."""
    entries = [(one, None) if isinstance(one, str) else (one.sequence, one.id) for one in given]
    if len(entries) > limits.sequences:
        raise Refusal(
            413,
            "too_large",
            f"{len(entries):,} sequences, and at most {limits.sequences:,} are taken at once: "
            "send fewer, or make them a job (POST /v1/jobs).",
        )
    good: list[Protein] = []
    failures: list[dict[str, Any]] = []
    used: set[str] = set()
    for index, (text, given_id) in enumerate(entries):
        id = _distinct(given_id or f"sequence_{index + 1}", used)
        try:
            sequence, notes = clean(text)
            if len(sequence) > limits.residues:
                raise InputError(
                    f"{len(sequence):,} residues, and at most {limits.residues:,} are taken",
                    advice="Use `chaperonin embed` on files, or a domain of the protein.",
                )
            renamed = (f"id {given_id} is there twice",) if given_id not in (None, id) else ()
            good.append(Protein(index, id, sequence, (*notes, *renamed)))
        except InputError as error:
            failures.append({"index": index, "id": id, **located(error, f"sequences[{index}]")})
    return Proteins(good, failures)


def read_protein(sequence: str, id: str | None, limits: Limits) -> Protein:
    """The only sequence of a request; Refusal (422) where it cannot be used."""
    proteins = read_proteins([Named(sequence=sequence, id=id)], limits)
    proteins.require_one()
    return proteins.good[0]


def _distinct(id: str, used: set[str]) -> str:
    name, number = id, 1
    while name in used:
        number += 1
        name = f"{id}_{number}"
    used.add(name)
    return name


def located(error: ChaperoninError, where: str) -> Mapping[str, str]:
    """What was wrong, at a place in the request where the error names none."""
    return {**failure_of(error), "where": error.where or where}
