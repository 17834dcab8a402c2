"""Proteins with descriptions: read from tables, and an endless shuffled stream of batches of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from chaperonin.data.sources import Record, Rejected, read_records
from chaperonin.data.stream import Place, Sequences
from chaperonin.errors import InputError, UsageError
from chaperonin.files import write_atomically

JOINED = " [SEP] "
"""What stands between the parts of a description, as in ProtST."""


class Pair(NamedTuple):
    """A protein and its description."""

    residues: NDArray[np.uint8]
    """Token ids, without ends."""
    words: NDArray[np.int64]
    """Word pieces, without ends."""


@dataclass(frozen=True)
class Described:
    """The records of a table that have a sequence and a text, and why the others have not."""

    sequences: list[str]
    texts: list[str]
    rejected: list[Rejected]


def read_described(path: Path, columns: Sequence[str]) -> Described:
    """Sequences with the texts of some columns, joined; InputError where a column is not there."""
    found = Described([], [], [])
    for record in read_records(path):
        if isinstance(record, Rejected):
            found.rejected.append(record)
            continue
        if absent := [name for name in columns if name not in record.columns]:
            raise InputError(
                f"no column {absent[0]}",
                where=str(path),
                advice=f"There are: {', '.join(record.columns)}. Name the texts in data.columns.",
            )
        parts = [text for name in columns if (text := record.columns[name].strip())]
        if parts:
            found.sequences.append(record.sequence)
            found.texts.append(JOINED.join(parts))
        else:
            found.rejected.append(_without_text(record))
    return found


def _without_text(record: Record) -> Rejected:
    error = InputError("no text", where=record.where, advice="Describe the protein, or leave it out.")
    return Rejected(record.number, record.id, record.where, error)


def make_vocabulary(texts: Iterable[str], size: int, folder: Path) -> Path:
    """The most frequent words of these texts, and every letter, written as vocab.txt: what else is met gets spelt.

    The same texts give the same one, which training word pieces with `tokenizers` does not: it breaks ties by chance.
    """
    normalise, part = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in part.pre_tokenize_str(normalise.normalize_str(text)))
    letters = sorted({letter for word in counts for letter in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    frequent = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    folder.mkdir(parents=True, exist_ok=True)
    pieces += frequent[: max(0, size - len(pieces))]
    write_atomically(folder / "vocab.txt", "\n".join(pieces) + "\n")
    return folder / "vocab.txt"


class PairStream:
    """Endless batches of equally many pairs: each pair at most once an epoch, in an order of that epoch's own.

    What a batch holds follows from the seed and the place alone.
    """

    def __init__(
        self, sequences: Sequences, words: Sequence[NDArray[np.int64]], seed: int, window: int, pairs: int
    ) -> None:
        if len(sequences) < pairs:
            raise UsageError(
                f"{len(sequences)} pairs do not fill one batch of {pairs}", advice="Lower data.batch_pairs."
            )
        self.sequences, self.words = sequences, words
        self.seed, self.window, self.pairs = seed, window, pairs
        self.place = Place()

    def __next__(self) -> list[Pair]:
        """The next batch; what is left of an epoch and fills none is left out."""
        epoch, taken = self.place
        order = self.order(epoch)
        after = taken + self.pairs
        self.place = Place(epoch, after) if after < order.size else Place(epoch + 1)
        return [self.pair(int(number), epoch) for number in order[taken // self.pairs]]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Numbers of the pairs of an epoch, a row for each batch."""
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(len(self.sequences))
        batches = len(shuffled) // self.pairs
        return shuffled[: batches * self.pairs].reshape(batches, self.pairs)

    def pair(self, number: int, epoch: int) -> Pair:
        """A protein, or a window of it at a place that seed, epoch and number decide, and its text."""
        residues = self.sequences[number]
        spare = len(residues) - self.window
        if spare > 0:
            start = np.random.default_rng([self.seed, epoch, number]).integers(spare + 1)
            residues = residues[start : start + self.window]
        return Pair(residues, self.words[number])
