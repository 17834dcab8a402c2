"""What the endpoint makes of texts: classes described in words, and what belongs to a text or to a protein (ProtST)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.prompts import Prompt, require_words
from chaperonin.errors import InputError
from chaperonin.inference.search import Hit, best_proteins, best_texts
from chaperonin.inference.zero_shot import Classes, target_of
from chaperonin.serving.batcher import Item
from chaperonin.serving.errors import Refusal
from chaperonin.serving.proteins import Proteins
from chaperonin.serving.schemas import Described
from chaperonin.serving.settings import Limits
from chaperonin.serving.verbs import Verbs
from chaperonin.tasks.prediction import Prediction

Vectors = NDArray[np.float32]


async def zero_shot(
    verbs: Verbs, proteins: Proteins, prompts: Sequence[Prompt]
) -> dict[int, tuple[Prediction, dict[str, float]]]:
    """The class of each protein by its index, and its cosine with each."""
    if len(prompts) < 2:
        raise Refusal(422, "input", "One class leaves no choice: describe two at least, or use /v1/search.")
    texts = await _text_vectors(verbs, prompts)
    classes = Classes(target_of(prompts), texts, verbs.models.text_reader.model.scale)
    vectors = await _protein_vectors(verbs, proteins)
    found = {}
    for protein, vector in zip(proteins.good, vectors, strict=True):
        cosines = dict(zip(classes.target.classes, (texts @ vector).tolist(), strict=True))
        found[protein.index] = (classes.prediction(vector), cosines)
    return found


async def search(
    verbs: Verbs, proteins: Proteins, prompts: Sequence[Prompt], of: Literal["text", "protein"], top: int
) -> list[Hit]:
    """The best proteins for each text, or the best texts for each protein."""
    texts = await _text_vectors(verbs, prompts)
    vectors = await _protein_vectors(verbs, proteins)
    labels = [prompt.label for prompt in prompts]
    named = [(protein.id, vector) for protein, vector in zip(proteins.good, vectors, strict=True)]
    if of == "protein":
        return list(best_texts(named, labels, texts, top))
    return list(best_proteins(labels, texts, named, top))


def read_prompts(given: Sequence[str | Described], limits: Limits) -> list[Prompt]:
    """The texts of a request; Refusal (422) names the first that cannot be used, (413) for too many."""
    if len(given) > limits.texts:
        raise Refusal(413, "too_large", f"{len(given):,} texts, and at most {limits.texts:,} are taken.")
    prompts: list[Prompt] = []
    places: dict[str, int] = {}
    for number, one in enumerate(given):
        text, label = (one, None) if isinstance(one, str) else (one.text, one.label)
        label = text.strip() if label is None else label.strip()
        require_words(text, label, f"texts[{number}]")
        if label in places:
            raise InputError(
                f"{label[:40]!r} is texts[{places[label]}] too",
                where=f"texts[{number}]",
                advice="Give each once.",
            )
        places[label] = number
        prompts.append(Prompt(label, text))
    return prompts


def notes(verbs: Verbs, prompts: Sequence[Prompt]) -> list[str]:
    """What whoever asked should know of the texts."""
    model = verbs.models.text_reader.model
    longest = model.longest_text
    cut = [prompt.label[:40] for prompt in prompts if len(model.words.pieces(prompt.text)) > longest]
    return [f"only the first {longest} word pieces are read of {label!r}" for label in cut]


async def _text_vectors(verbs: Verbs, prompts: Sequence[Prompt]) -> Vectors:
    """`[texts, width]`, of unit length; a text that was asked for lately is not read again."""
    reader = verbs.models.text_reader
    items: dict[str, Item] = {}
    known: dict[str, Vectors] = {}
    for number, prompt in enumerate(prompts):
        vector = reader.remembered(prompt.text)
        if vector is not None:
            known[prompt.text] = vector
        elif prompt.text not in items:
            items[prompt.text] = Item(_pieces(verbs, prompt.text, number), "text")
    await verbs.run(list(items.values()))
    for text, item in items.items():
        known[text] = item.result
        reader.remember(text, item.result)
    return np.stack([known[prompt.text] for prompt in prompts])


def _pieces(verbs: Verbs, text: str, number: int) -> NDArray[np.int64]:
    model = verbs.models.text_reader.model
    try:
        return np.array(model.words.known(text)[: model.longest_text], dtype=np.int64)
    except InputError as error:
        raise InputError(error.what, where=f"texts[{number}]", advice=error.advice) from error


async def _protein_vectors(verbs: Verbs, proteins: Proteins) -> Vectors:
    """`[proteins, width]`, of unit length."""
    proteins.require_one()
    found = await verbs.vectors(proteins.good, None)
    means = np.stack([found[protein.index][1:].mean(axis=0) for protein in proteins.good])
    model = verbs.models.text_reader.model
    return await verbs.aside(lambda: model.project_proteins(means))
