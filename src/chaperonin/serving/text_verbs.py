"""What the endpoint makes of texts: classes described in words, and what belongs to a text or to a protein (ProtST)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.prompts import Prompt, require_words
from chaperonin.errors import InputError
from chaperonin.inference.search import best_proteins, best_texts
from chaperonin.inference.zero_shot import Classes, target_of
from chaperonin.serving.batcher import Item
from chaperonin.serving.errors import Refusal
from chaperonin.serving.proteins import Proteins
from chaperonin.serving.schemas import LONGEST_LABEL, Described
from chaperonin.serving.settings import Limits
from chaperonin.serving.verbs import Verbs, joined_vectors

Vectors = NDArray[np.float32]
_DIGITS = 6
"""Decimals of cosines."""


@dataclass(frozen=True)
class Texts:
    """The texts of a request, ready to be read."""

    prompts: list[Prompt]
    pieces: list[NDArray[np.int64]]
    """Word pieces of each, as many as are read."""
    notes: list[str]
    """Which of them are read in part."""

    @property
    def labels(self) -> list[str]:
        """Their names."""
        return [prompt.label for prompt in self.prompts]


async def zero_shot(verbs: Verbs, proteins: Proteins, texts: Texts) -> list[dict[str, Any]]:
    """The class of each protein, its shares and cosines, as the answer has them."""
    if len(texts.prompts) < 2:
        raise Refusal(422, "input", "One class leaves no choice: describe two at least, or use /v1/search.")
    verbs.require_values(2 * len(proteins.good) * len(texts.prompts))
    described, vectors = await _vectors(verbs, proteins, texts)
    classes = Classes(target_of(texts.prompts), described, verbs.models.text_reader.model.scale)

    def results() -> list[dict[str, Any]]:
        found = []
        for protein, vector in zip(proteins.good, vectors, strict=True):
            cosines = (described @ vector).astype(np.float64).round(_DIGITS).tolist()
            named = dict(zip(texts.labels, cosines, strict=True))
            found.append({**protein.head(), **classes.prediction(vector).as_json(), "cosines": named})
        return found

    return await verbs.aside(results)


async def search(
    verbs: Verbs, proteins: Proteins, texts: Texts, of: Literal["text", "protein"], top: int
) -> list[dict[str, Any]]:
    """The best proteins for each text, or the best texts for each protein, as the answer has them."""
    queries, answers = len(texts.prompts), len(proteins.good)
    if of == "protein":
        queries, answers = answers, queries
    verbs.require_values(2 * queries * min(top, answers))
    described, vectors = await _vectors(verbs, proteins, texts)
    named = [(protein.id, vector) for protein, vector in zip(proteins.good, vectors, strict=True)]

    def hits() -> list[dict[str, Any]]:
        found = (
            best_texts(named, texts.labels, described, top)
            if of == "protein"
            else best_proteins(texts.labels, described, named, top)
        )
        return [
            {"query": hit.query, "rank": hit.rank, "id": hit.id, "cosine": round(hit.cosine, _DIGITS)}
            for hit in found
        ]

    return await verbs.aside(hits)


async def read_texts(verbs: Verbs, given: Sequence[str | Described]) -> Texts:
    """The texts of a request; Refusal (422) names the first that cannot be used, (413) for too many.

    Also a Refusal (422) where no model reads them.
    """
    model = verbs.models.text_reader.model
    prompts = _prompts(given, verbs.limits)

    def texts() -> Texts:
        longest, pieces, notes = model.longest_text, [], []
        for number, prompt in enumerate(prompts):
            try:
                own = model.words.known(prompt.text, longest + 1)
            except InputError as error:
                raise InputError(error.what, where=f"texts[{number}]", advice=error.advice) from error
            if len(own) > longest:
                notes.append(f"only the first {longest} word pieces are read of {prompt.label[:40]!r}")
            pieces.append(np.array(own[:longest], dtype=np.int64))
        return Texts(prompts, pieces, notes)

    return await verbs.aside(texts)


def _prompts(given: Sequence[str | Described], limits: Limits) -> list[Prompt]:
    if len(given) > limits.texts:
        raise Refusal(
            413,
            "too_large",
            f"{len(given):,} texts, and at most {limits.texts:,} are taken at once: send fewer.",
        )
    prompts: list[Prompt] = []
    places: dict[str, int] = {}
    for number, one in enumerate(given):
        where = f"texts[{number}]"
        text, label = (one, None) if isinstance(one, str) else (one.text, one.label)
        label = text.strip() if label is None else label.strip()
        require_words(text, label or "?", where)
        if not label or len(label) > LONGEST_LABEL:
            raise InputError(
                f"a label of {len(label):,} characters",
                where=where,
                advice=f"Give the text a label of 1 to {LONGEST_LABEL} characters: the answer repeats it.",
            )
        if label in places:
            raise InputError(
                f"{label[:40]!r} is texts[{places[label]}] too", where=where, advice="Give each once."
            )
        places[label] = number
        prompts.append(Prompt(label, text))
    return prompts


async def _vectors(verbs: Verbs, proteins: Proteins, texts: Texts) -> tuple[Vectors, Vectors]:
    """`[texts, width]` and `[proteins, width]`, of unit length; a text that was read lately is not read again."""
    proteins.require_one()
    reader = verbs.models.text_reader
    known = [reader.remembered(pieces) for pieces in texts.pieces]
    unread = [Item(own, "text") for own, vector in zip(texts.pieces, known, strict=True) if vector is None]
    items = verbs.vector_items(proteins.good, None)
    await verbs.run([*unread, *(item for own in items.values() for item in own)])
    for item in unread:
        reader.remember(item.tokens, item.result)
    new = iter(unread)
    described = np.stack([next(new).result if vector is None else vector for vector in known])
    found = joined_vectors(proteins.good, items)
    means = np.stack([found[protein.index][1:].mean(axis=0) for protein in proteins.good])
    return described, await verbs.aside(lambda: reader.model.project_proteins(means))
