"""Residues as numbers: the alphabets that language models were trained with."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

STANDARD_RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
"""The twenty amino acids in alphabetical order of their one-letter codes."""

CLS, PAD, EOS, UNK, MASK = "<cls>", "<pad>", "<eos>", "<unk>", "<mask>"


@dataclass(frozen=True)
class Alphabet:
    """Tokens in the order of their ids; one-letter tokens are residues, the others are special.

    A sequence is encoded with one token at its end and, in most alphabets, one at its beginning.
    """

    tokens: tuple[str, ...]
    begins: str | None = CLS
    """Token at the beginning of every sequence; None: there is none."""
    ends: str = EOS
    """Token at the end of every sequence."""
    padding: str = PAD
    unknown: str = UNK
    """What stands for a letter that is not in the alphabet."""
    hidden: str = MASK
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)
    _table: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {token: number for number, token in enumerate(self.tokens)}
        table = np.full(256, ids[self.unknown], dtype=np.int64)
        for token, number in ids.items():
            if len(token) == 1:
                table[ord(token)] = number
        object.__setattr__(self, "_ids", ids)
        object.__setattr__(self, "_table", table)

    def __len__(self) -> int:
        return len(self.tokens)

    def index(self, token: str) -> int:
        """Id of a token; KeyError for one that is not in the alphabet."""
        return self._ids[token]

    def indices(self, tokens: str) -> NDArray[np.int64]:
        """Ids of one-letter tokens, without ends. What is not in the alphabet becomes the unknown one."""
        return self._table[np.frombuffer(tokens.encode("latin-1", "replace"), dtype=np.uint8)]

    def encode(self, sequence: str) -> NDArray[np.int64]:
        """Ids of the sequence with its ends: length + `added` numbers, one look-up per residue."""
        residues = sequence.encode("latin-1", "replace")
        ids = np.empty(len(residues) + self.added, dtype=np.int64)
        np.take(self._table, np.frombuffer(residues, dtype=np.uint8), out=ids[self.inner])
        ids[-1] = self.eos
        if self.begins is not None:
            ids[0] = self.cls
        return ids

    def framed(self, residues: NDArray[np.int64]) -> NDArray[np.int64]:
        """Residues with what stands before and after them."""
        before = () if self.begins is None else (self.cls,)
        return np.concatenate((before, residues, (self.eos,))).astype(np.int64)

    def translation(self, other: "Alphabet") -> NDArray[np.int64]:
        """Our number for each of another alphabet's residues, by its number; its special tokens are unknown."""
        numbers = np.full(len(other), self.unk, dtype=np.int64)
        for number, token in enumerate(other.tokens):
            if len(token) == 1:
                numbers[number] = self._table[ord(token)]
        return numbers

    def whole_first(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Of a row per token: the one that stands for the whole sequence, then those of the residues.

        That is the row of the first token, or of the last where a sequence begins with a residue.
        """
        return rows[:-1] if self.begins is not None else np.concatenate((rows[-1:], rows[:-1]))

    def decode(self, ids: NDArray[np.int64]) -> str:
        """Text of the ids, special tokens written out."""
        return "".join(self.tokens[number] for number in ids)

    @property
    def first(self) -> int:
        """Place of the first residue among the tokens of a sequence."""
        return 0 if self.begins is None else 1

    @property
    def added(self) -> int:
        """Tokens of a sequence that are no residues."""
        return self.first + 1

    @property
    def inner(self) -> slice:
        """Where the residues are among the tokens of a sequence."""
        return slice(self.first, -1)

    @property
    def cls(self) -> int:
        """Id that begins every sequence; KeyError where none does."""
        return self._ids[self.begins or CLS]

    @property
    def pad(self) -> int:
        """Id that fills up batches; it stands in no sequence."""
        return self._ids[self.padding]

    @property
    def eos(self) -> int:
        """Id that ends every sequence."""
        return self._ids[self.ends]

    @property
    def unk(self) -> int:
        """Id of what is not in the alphabet."""
        return self._ids[self.unknown]

    @property
    def mask(self) -> int:
        """Id of a hidden residue."""
        return self._ids[self.hidden]


ESM_ALPHABET = Alphabet((CLS, PAD, EOS, UNK, *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", MASK))
"""The 33 tokens of ESM-1b, ESM-1v and ESM-2."""

_ANTIBODY = ("[HC]", "[LC]", "[HUMAN]", *(f"<{end}cdr{n}>" for n in (1, 2, 3) for end in ("", "/")))
AIDO_ALPHABET = Alphabet(
    ("[PAD]", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "[MASK]", "[gMASK]", "[sMASK]", "[eod]", "[sop]", "[eop]", "[SEP]",
     *_ANTIBODY),
    begins=None, ends="[SEP]", padding="[PAD]", unknown="-", hidden="[MASK]",
)  # fmt: skip
"""The 44 tokens of AIDO.Protein. Chains are joined by `[SEP]`, and nothing stands before the first residue.

Its published tokenizer makes one `-` of several unknown letters in a row; here each stands for itself.
"""
