"""Residues as numbers: the alphabets that language models were trained with."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

STANDARD_RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
"""The twenty amino acids in alphabetical order of their one-letter codes."""

CLS, PAD, EOS, UNK, MASK = "<cls>", "<pad>", "<eos>", "<unk>", "<mask>"


@dataclass(frozen=True)
class Alphabet:
    """Tokens in the order of their ids; one-letter tokens are residues, the others are special."""

    tokens: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)
    _table: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {token: number for number, token in enumerate(self.tokens)}
        table = np.full(256, ids[UNK], dtype=np.int64)
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
        """Ids of one-letter tokens, without ends. What is not in the alphabet becomes `<unk>`."""
        return self._table[np.frombuffer(tokens.encode("latin-1", "replace"), dtype=np.uint8)]

    def encode(self, sequence: str) -> NDArray[np.int64]:
        """Ids of `<cls> sequence <eos>`: length + 2 numbers, one look-up per residue."""
        residues = sequence.encode("latin-1", "replace")
        ids = np.empty(len(residues) + 2, dtype=np.int64)
        ids[0], ids[-1] = self.cls, self.eos
        np.take(self._table, np.frombuffer(residues, dtype=np.uint8), out=ids[1:-1])
        return ids

    def decode(self, ids: NDArray[np.int64]) -> str:
        """Text of the ids, special tokens written out."""
        return "".join(self.tokens[number] for number in ids)

    @property
    def cls(self) -> int:
        """Id that begins every sequence."""
        return self._ids[CLS]

    @property
    def pad(self) -> int:
        """Id that fills up batches; it stands in no sequence."""
        return self._ids[PAD]

    @property
    def eos(self) -> int:
        """Id that ends every sequence."""
        return self._ids[EOS]

    @property
    def unk(self) -> int:
        """Id of what is not in the alphabet."""
        return self._ids[UNK]

    @property
    def mask(self) -> int:
        """Id of a hidden residue."""
        return self._ids[MASK]


ESM_ALPHABET = Alphabet((CLS, PAD, EOS, UNK, *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", MASK))
"""The 33 tokens of ESM-1b, ESM-1v and ESM-2."""
