"""Our ids are those the models were trained with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import EsmTokenizer

from chaperonin.protein.alphabet import ESM_ALPHABET, STANDARD_RESIDUES


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> EsmTokenizer:
    """The tokenizer of transformers with the published order of tokens, written out here a second time."""
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    tokens = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
    path.write_text("\n".join(tokens.split()))
    return EsmTokenizer(str(path))


@given(st.text(alphabet=STANDARD_RESIDUES + "XBUZO", min_size=1, max_size=300))
def test_ids_equal_those_of_transformers(published: EsmTokenizer, sequence: str) -> None:
    assert ESM_ALPHABET.encode(sequence).tolist() == published(sequence)["input_ids"]


@given(st.text(alphabet=STANDARD_RESIDUES, max_size=50))
def test_decoding_gives_the_sequence_between_its_ends(sequence: str) -> None:
    assert ESM_ALPHABET.decode(ESM_ALPHABET.encode(sequence)) == f"<cls>{sequence}<eos>"


def test_what_is_no_token_is_unknown_and_keeps_its_place() -> None:
    ids = ESM_ALPHABET.encode("AJaé€A")
    unknown = ESM_ALPHABET.unk
    assert ids[1:-1].tolist() == [5, unknown, unknown, unknown, unknown, 5]


def test_the_twenty_residues_are_found_by_letter() -> None:
    expected = [ESM_ALPHABET.index(letter) for letter in STANDARD_RESIDUES]
    np.testing.assert_array_equal(ESM_ALPHABET.indices(STANDARD_RESIDUES), expected)
    assert len(ESM_ALPHABET) == 33
