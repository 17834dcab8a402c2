"""What the endpoint computes: sequences of a request become items for the worker, and their results an answer."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from pydantic_core import to_json

from chaperonin.data.windows import blend, blend_maps, windows
from chaperonin.errors import InputError
from chaperonin.inference.score_output import marginal
from chaperonin.inference.score_windows import (
    WINDOW_TOKENS,
    optimal_window,
    overlapping_windows,
    window_weights,
)
from chaperonin.protein.variant import Variant, indices, parse_variant, saturation
from chaperonin.serving.batcher import Item
from chaperonin.serving.errors import Refusal
from chaperonin.serving.models import Models
from chaperonin.serving.proteins import Protein, Proteins, located
from chaperonin.serving.settings import Limits
from chaperonin.serving.worker import Worker
from chaperonin.tasks.prediction import Prediction

Made = TypeVar("Made")
_DIGITS = 7
"""Decimals of vectors: the precision of single numbers near one."""


@dataclass
class Cost:
    """What an answer took, for its headers."""

    tokens: int = 0
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0

    def headers(self) -> dict[str, str]:
        """Tokens, and times in milliseconds."""
        return {
            "x-compute-tokens": str(self.tokens),
            "x-queue-time": f"{self.queue_seconds * 1e3:.1f}",
            "x-inference-time": f"{self.inference_seconds * 1e3:.1f}",
        }


@dataclass
class Verbs:
    """The verbs over one worker."""

    models: Models
    worker: Worker
    limits: Limits
    client: str = "local"
    cost: Cost = field(default_factory=Cost)

    def of(self, client: str) -> "Verbs":
        """The verbs for one request of a client, which count what it costs."""
        return Verbs(self.models, self.worker, self.limits, client)

    async def embed(
        self, proteins: Proteins, level: Literal["protein", "residue"], model: str | None
    ) -> dict[int, NDArray[np.float32]]:
        """Vector `[width]`, or vectors `[length, width]`, of each protein by its index."""
        served = self.models.get(model)
        proteins.require_one()
        if level == "residue":
            width = self.models.base.config.width
            self.require_values(sum(len(protein.sequence) for protein in proteins.good) * width)
        vectors = await self.vectors(proteins.good, served.adapter)
        if level == "residue":
            return {index: own[1:] for index, own in vectors.items()}
        return {index: own[1:].mean(axis=0) for index, own in vectors.items()}

    async def predict(self, proteins: Proteins, model: str | None) -> dict[int, Prediction]:
        """Prediction of each protein by its index; Refusal (422) for a model without a task."""
        served = self.models.get(model)
        trained = served.trained
        if trained is None:
            raise Refusal(
                422,
                "no_task",
                f"{served.name} has no task to predict: serve or name a model that was trained.",
            )
        proteins.require_one()
        if trained.target.level == "pairs":
            self.require_values(sum(len(protein.sequence) ** 2 for protein in proteins.good))
        vectors = await self.vectors(proteins.good, served.adapter)

        def predictions() -> dict[int, Prediction]:
            outputs = trained.outputs(list(vectors.values()))
            return {index: trained.prediction(output) for index, output in zip(vectors, outputs, strict=True)}

        return await self.aside(predictions)

    async def contacts(self, proteins: Proteins) -> dict[int, NDArray[np.float32]]:
        """Map `[length, length]` of each protein by its index; NaN where no window saw both residues."""
        if self.models.base.contact is None:
            raise Refusal(404, "no_contact_head", "The model that is served has no contact head.")
        proteins.require_one()
        self.require_values(sum(len(protein.sequence) ** 2 for protein in proteins.good))
        adapter = self.models.default.adapter
        items = {
            sequence: [
                self._item(sequence[span.start : span.stop], adapter, "contacts")
                for span in windows(len(sequence))
            ]
            for sequence in {protein.sequence: None for protein in proteins.good}
        }
        await self.run([item for own in items.values() for item in own])

        def maps() -> dict[int, NDArray[np.float32]]:
            made = {
                sequence: _whole_map([item.result for item in own], len(sequence))
                for sequence, own in items.items()
            }
            return {protein.index: made[protein.sequence] for protein in proteins.good}

        return await self.aside(maps)

    async def score(
        self, protein: Protein, variants: Sequence[str] | None, protocol: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Scores of variants, every single substitution where none are named, and why others have none."""
        sequence = protein.sequence
        if variants is None:
            self.require_values(19 * len(sequence))
            readable: list[Variant] = [(one,) for one in saturation(sequence)]
            failures: list[dict[str, Any]] = []
        else:
            readable, failures = _read_variants(variants, sequence)
            if not readable:
                raise Refusal(
                    422,
                    "input",
                    f"No variant can be used. The first: {failures[0]['error']}.",
                    details=failures,
                )
        places = [indices(variant, sequence) for variant in readable]
        wanted = sorted({position for own in places for position in own})
        if protocol == "masked-marginal":
            rows = await self._masked(sequence, wanted)
        else:
            rows = await self._plain(sequence, wanted)

        def scores() -> list[dict[str, Any]]:
            return [
                {
                    "mutant": ":".join(map(str, variant)) or "wt",
                    "score": round(marginal(rows, variant, own), 6),
                }
                for variant, own in zip(readable, places, strict=True)
            ]

        return await self.aside(scores), failures

    async def _masked(self, sequence: str, wanted: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Log-probabilities at positions, each of them hidden in a pass of its own."""
        alphabet = self.models.base.alphabet
        tokens = alphabet.encode(sequence)
        self._require_tokens(len(wanted) * min(len(tokens), WINDOW_TOKENS))
        items = []
        for position in wanted:
            start, stop = optimal_window(position + alphabet.first, len(tokens))
            masked = tokens[start:stop].copy()
            masked[position + alphabet.first - start] = alphabet.mask
            items.append(self._row_item(masked, [position + alphabet.first - start]))
        await self.run(items)
        return {
            position: item.result[0].astype(np.float64) for position, item in zip(wanted, items, strict=True)
        }

    async def _plain(self, sequence: str, wanted: Sequence[int]) -> dict[int, NDArray[Any]]:
        """Log-probabilities at positions, none of them hidden: the mean over the windows that see them."""
        alphabet = self.models.base.alphabet
        tokens = alphabet.encode(sequence)
        places = {position: position + alphabet.first for position in wanted}
        spans, items = [], []
        for start, stop in overlapping_windows(len(tokens)):
            inside = [position for position in wanted if start <= places[position] < stop]
            if inside:
                spans.append((start, inside))
                items.append(
                    self._row_item(tokens[start:stop], [places[position] - start for position in inside])
                )
        await self.run(items)
        weights = window_weights() if len(tokens) > WINDOW_TOKENS else np.ones(WINDOW_TOKENS)
        sums: dict[int, Any] = dict.fromkeys(wanted, 0.0)
        total = dict.fromkeys(wanted, 0.0)
        for (start, inside), item in zip(spans, items, strict=True):
            for position, row in zip(inside, item.result.astype(np.float64), strict=True):
                weight = weights[places[position] - start]
                sums[position] = sums[position] + weight * row
                total[position] += weight
        return {position: sums[position] / total[position] for position in wanted}

    def _row_item(self, tokens: NDArray[np.int64], rows: Sequence[int]) -> Item:
        adapter = self.models.default.adapter
        return Item(tokens, "log_probabilities", adapter, np.array(rows, dtype=np.int64))

    def _item(self, residues: str, adapter: str | None, wanted: Literal["vectors", "contacts"]) -> Item:
        return Item(self.models.base.alphabet.encode(residues), wanted, adapter)

    async def vectors(
        self, proteins: Sequence[Protein], adapter: str | None
    ) -> dict[int, NDArray[np.float32]]:
        """`[length + 1, width]` of each protein by its index: `<cls>`, then residues; equal proteins run once."""
        items = self.vector_items(proteins, adapter)
        await self.run([item for own in items.values() for item in own])
        return joined_vectors(proteins, items)

    def vector_items(self, proteins: Sequence[Protein], adapter: str | None) -> dict[str, list[Item]]:
        """The windows of each distinct sequence."""
        return {
            sequence: [
                self._item(sequence[span.start : span.stop], adapter, "vectors")
                for span in windows(len(sequence))
            ]
            for sequence in {protein.sequence: None for protein in proteins}
        }

    async def run(self, items: Sequence[Item]) -> None:
        """Wait until all items have their results; what that costs is counted. Refusal (413) for too many tokens."""
        self._require_tokens(sum(item.cost for item in items))
        ticket = await self.worker.run(items, self.client)
        now = time.monotonic()
        started = ticket.started_at or now
        self.cost.tokens += ticket.tokens
        self.cost.queue_seconds += started - ticket.queued_at
        self.cost.inference_seconds += now - started
        self.worker.metrics.computed(started - ticket.queued_at, now - started)

    async def aside(self, make: Callable[[], Made]) -> Made:
        """What takes a while on this side of the model is done beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(None, make)

    def _require_tokens(self, tokens: int) -> None:
        if tokens > self.limits.tokens:
            raise Refusal(
                413,
                "too_large",
                f"The request costs {tokens:,} tokens, and at most {self.limits.tokens:,} are taken at once: "
                "send less at once, or make sequences and variants a job (POST /v1/jobs).",
            )

    def require_values(self, values: int) -> None:
        """Refusal (413) for an answer of too many numbers."""
        if values > self.limits.values:
            raise Refusal(
                413,
                "too_large",
                f"The answer would hold {values:,} numbers, and at most {self.limits.values:,} are sent at once: "
                "send less at once, or make sequences a job (POST /v1/jobs).",
            )


def _read_variants(texts: Sequence[str], sequence: str) -> tuple[list[Variant], list[dict[str, Any]]]:
    readable: list[Variant] = []
    failures = []
    for index, text in enumerate(texts):
        try:
            variant = parse_variant(text)
            indices(variant, sequence)
            readable.append(variant)
        except InputError as error:
            failures.append({"index": index, "id": text[:200], **located(error, f"variants[{index}]")})
    return readable, failures


def joined_vectors(
    proteins: Sequence[Protein], items: Mapping[str, Sequence[Item]]
) -> dict[int, NDArray[np.float32]]:
    """`[length + 1, width]` of each protein by its index, from its windows that have their results."""
    made = {
        sequence: _joined([item.result for item in own], len(sequence)) for sequence, own in items.items()
    }
    return {protein.index: made[protein.sequence] for protein in proteins}


def _joined(parts: list[NDArray[np.float32]], length: int) -> NDArray[np.float32]:
    """Vectors `[length + 1, width]` from those of the windows."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([parts[0][:1], blend([part[1:] for part in parts], windows(length), length)])


def _whole_map(parts: list[NDArray[np.float32]], length: int) -> NDArray[np.float32]:
    return parts[0] if len(parts) == 1 else blend_maps(parts, length)


def reply(body: Mapping[str, Any], cost: Cost | None = None) -> Response:
    """JSON that is written at once: what we computed needs no check against its own schema."""
    headers = cost.headers() if cost is not None else None
    return Response(to_json(body), headers=headers, media_type="application/json")


def numbers(array: NDArray[Any], digits: int = _DIGITS) -> Any:
    """An array as JSON holds it: rounded, null for what is not known."""
    rounded = array.astype(np.float64).round(digits)
    unknown = np.isnan(rounded)
    if unknown.any():
        rounded = rounded.astype(object)
        rounded[unknown] = None
    return rounded.tolist()
