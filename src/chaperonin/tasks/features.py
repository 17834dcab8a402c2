"""What a backbone says of whole sequences of any length: vectors per residue, and the one that heads start from."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from chaperonin.data.batching import make_batch, plan_batches
from chaperonin.data.windows import Window, blend, windows
from chaperonin.kernels.host_memory import return_free_memory
from chaperonin.layers.language import LanguageModel
from chaperonin.parallel.cores import run_on_cores

CHUNK_TOKENS = 1 << 15
"""Tokens of the sequences that are in memory at once."""


def represent(model: LanguageModel, sequences: Sequence[str], token_budget: int) -> list[NDArray[np.float32]]:
    """Vectors `[length + 1, width]` of each sequence: its `<cls>` (of its first window), then its residues.

    Of a model whose sequences begin with a residue, the first is that of the end.

    Where the windows of a long sequence overlap, they are blended.
    """
    spans = [windows(len(sequence)) for sequence in sequences]
    pieces = [(number, span) for number, own in enumerate(spans) for span in own]
    arrays = [model.alphabet.encode(sequences[number][span.start : span.stop]) for number, span in pieces]
    parts: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(pieces)
    device = next(model.parameters()).device
    for chosen in plan_batches([len(array) for array in arrays], token_budget):
        batch = make_batch([arrays[index] for index in chosen]).to(device)
        hidden = run_on_cores(model, batch.tokens, batch.segments).float().cpu().numpy()
        for index, start, length in zip(chosen, batch.segments.starts, batch.segments.lengths, strict=True):
            parts[index] = model.alphabet.whole_first(hidden[start : start + length])
    return list(_joined(parts, spans, sequences))


def _joined(
    parts: list[NDArray[np.float32]], spans: list[list[Window]], sequences: Sequence[str]
) -> Iterator[NDArray[np.float32]]:
    first = 0
    for own, sequence in zip(spans, sequences, strict=True):
        mine = parts[first : first + len(own)]
        first += len(own)
        if len(own) == 1:
            yield mine[0]
        else:
            residues = blend([part[1:] for part in mine], own, len(sequence))
            yield np.concatenate([mine[0][:1], residues])


def in_chunks(
    model: LanguageModel, sequences: Sequence[str], token_budget: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Number and vectors of each sequence, as `represent` gives them, without all of them in memory at once.

    Sequences come longest first, equal ones side by side, and each distinct one is computed once.
    """
    places: dict[str, list[int]] = {}
    for number, sequence in enumerate(sequences):
        places.setdefault(sequence, []).append(number)
    distinct = list(places)
    for chosen in plan_batches([len(sequence) for sequence in distinct], CHUNK_TOKENS):
        texts = [distinct[index] for index in chosen]
        for text, vectors in zip(texts, represent(model, texts, token_budget), strict=True):
            for number in places[text]:
                yield number, vectors
        return_free_memory()


def pooled(
    model: LanguageModel, sequences: Sequence[str], pooling: str, token_budget: int
) -> NDArray[np.float32]:
    """One vector `[width]` per sequence, `[sequences, width]`: the mean over its residues, or its `<cls>`."""
    result = np.empty((len(sequences), model.config.width), dtype=np.float32)
    for number, vectors in in_chunks(model, sequences, token_budget):
        result[number] = vectors[0] if pooling == "cls" else vectors[1:].mean(axis=0)
    return result
