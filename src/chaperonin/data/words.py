"""Texts to the word pieces of a BERT, by the vocabulary that lies beside its weights."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer

from chaperonin.errors import InputError, WeightsError
from chaperonin.models.protst.text import TextBatch
from chaperonin.weights.places import repository

VOCABULARY = "vocab.txt"
PUBMEDBERT = (
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract",
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
)
"""Names of the model whose vocabulary the published ProtST reads with, old and new; its own repositories hold none."""
LONGEST = 128
"""Word pieces of a text, `[CLS]` not counted: what ProtST was trained with."""
_CLS, _SEP, _PAD, _UNKNOWN = "[CLS]", "[SEP]", "[PAD]", "[UNK]"


class WordPieces:
    """The tokenizer of a text tower."""

    def __init__(self, vocabulary: Path, lowercase: bool = True) -> None:
        self.path = vocabulary
        self.content = vocabulary.read_bytes()
        """The vocabulary's file."""
        self.sha256 = sha256(self.content + bytes([lowercase])).hexdigest()
        """Of all that numbers depend on."""
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=lowercase)
        special = {name: self._tokenizer.token_to_id(name) for name in (_CLS, _SEP, _PAD, _UNKNOWN)}
        if absent := [name for name, number in special.items() if number is None]:
            raise WeightsError(f"the vocabulary has no {', '.join(absent)}", where=str(vocabulary))
        self.cls, self.sep, self.pad, self.unknown = (int(number) for number in special.values())
        self.mask = int(self._tokenizer.token_to_id("[MASK]") or self.unknown)

    @classmethod
    def of(cls, folder: Path) -> "WordPieces":
        """That of a model folder, or of PubMedBERT in the cache; WeightsError where neither is there."""
        lowercase = True
        settings = folder / "tokenizer_config.json"
        if settings.is_file():
            lowercase = json.loads(settings.read_text(encoding="utf-8")).get("do_lower_case", True)
        cached = [path for name in PUBMEDBERT for path in repository(name).glob(f"snapshots/*/{VOCABULARY}")]
        for vocabulary in (folder / VOCABULARY, *cached):
            if vocabulary.is_file():
                return cls(vocabulary, lowercase)
        raise WeightsError(
            f"no {VOCABULARY}, without which no text can be read",
            where=str(folder),
            advice=f"Put the one of {PUBMEDBERT[1]} there.",
        )

    @property
    def size(self) -> int:
        """Word pieces in the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    def pieces(self, text: str) -> list[int]:
        """Numbers of all word pieces of a text, without ends."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def batch(self, texts: Sequence[str], *, separator: bool = True, longest: int = LONGEST) -> TextBatch:
        """Texts, each behind `[CLS]` and, with `separator`, before `[SEP]`; the first `longest` pieces of each.

        InputError for a text without any word that the vocabulary knows.
        """
        return self.rows([self.known(text, longest) for text in texts], separator=separator)

    def rows(self, pieces: Sequence[Sequence[int]], *, separator: bool = True) -> TextBatch:
        """Texts as word pieces, with their ends, filled up to the longest."""
        ends = [self.sep] if separator else []
        rows = [[self.cls, *own, *ends] for own in pieces]
        width = max(map(len, rows))
        tokens = torch.tensor([row + [self.pad] * (width - len(row)) for row in rows])
        is_token = torch.tensor([[place < len(row) for place in range(width)] for row in rows])
        is_word = is_token & ~torch.isin(tokens, torch.tensor([self.cls, self.sep, self.pad]))
        return TextBatch(tokens, is_token, is_word)

    def known(self, text: str, longest: int = LONGEST) -> list[int]:
        """The first of them; InputError where the vocabulary knows no word in these."""
        pieces = self.pieces(text)[:longest]
        if set(pieces) <= {self.unknown, self.cls, self.sep, self.pad}:
            what = "no word that the model knows" if pieces else "no text"
            raise InputError(f"{text[:40]!r}: {what}", advice="Write words, in English.")
        return pieces
