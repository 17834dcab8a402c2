"""The notation of variants, and BLOSUM62 on it."""

import pytest
from biotite.sequence import ProteinSequence
from biotite.sequence.align import SubstitutionMatrix, align_ungapped
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.errors import InputError
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.protein.substitution import blosum62, blosum62_score
from chaperonin.protein.variant import (
    Substitution,
    apply_variant,
    parse_variant,
    saturation,
    undo_variant,
    variant_between,
)

SEQUENCE = "MSTNPKPQRKTKRNTX"
sequences = st.text(STANDARD_RESIDUES, min_size=1, max_size=60)


@settings(deadline=None)
@given(st.data())
def test_a_variant_survives_notation_application_and_undoing(data):
    wild_type = data.draw(sequences)
    mutated = data.draw(st.text(STANDARD_RESIDUES, min_size=len(wild_type), max_size=len(wild_type)))
    first = data.draw(st.integers(1, 500))
    variant = variant_between(wild_type, mutated, first)
    assert parse_variant(":".join(map(str, variant)) or "wt") == variant
    assert apply_variant(variant, wild_type, first) == mutated
    assert undo_variant(variant, mutated, first) == wild_type


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("M1A", (Substitution("M", 1, "A"),)),
        (" m1a ", (Substitution("M", 1, "A"),)),
        ("M1A:S2P", (Substitution("M", 1, "A"), Substitution("S", 2, "P"))),
        ("M1M", (Substitution("M", 1, "M"),)),
        ("X16A", (Substitution("X", 16, "A"),)),
        ("wt", ()),
        ("_wt", ()),
        ("WT", ()),
    ],
)
def test_the_notation_is_read(text, expected):
    assert parse_variant(text) == expected


def test_the_letter_j_is_read_as_x_where_that_is_asked_for():
    assert parse_variant("j1A:M2J", unknown="X") == parse_variant("X1A:M2X")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("nan", "empty"),
        ("NaN", "empty"),
        ("None", "empty"),
        ("A123", "A123 in A123 is no substitution"),
        ("123V", "no substitution"),
        ("A123VV", "no substitution"),
        ("p.Ala123Val", "no substitution"),
        ("A12-", "no substitution"),
        ("A12*", "no substitution"),
        ("A-3V", "no substitution"),
        ("M1A:", "an empty part in M1A: is no substitution"),
        ("M1A,S2P", "no substitution"),
        ("M1J", "J in M1J is no residue"),
        ("A\u0663V", "no substitution"),
        ("M1A:M1C", "position 1 is changed twice"),
    ],
)
def test_what_is_no_variant_is_named_with_its_text(text, message):
    with pytest.raises(InputError, match="(?s)" + message.replace("*", r"\*")) as caught:
        parse_variant(text)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("text", "first", "message"),
    [
        ("A1P", 1, "A1P expects A at position 1, the wild type has M"),
        ("M17A", 1, "position 17 of M17A is outside of the wild type, which has residues 1 to 16"),
        ("M0A", 1, "position 0 of M0A is outside"),
        ("M1A", 24, "residues 24 to 39"),
    ],
)
def test_a_variant_of_another_protein_is_refused_with_the_reason(text, first, message):
    with pytest.raises(InputError, match=message):
        apply_variant(parse_variant(text), SEQUENCE, first)


def test_the_number_of_the_first_residue_shifts_every_position():
    assert apply_variant(parse_variant("M24A:S25P"), SEQUENCE, first=24) == "AP" + SEQUENCE[2:]


def test_lengths_that_differ_are_no_substitutions():
    with pytest.raises(InputError, match="15 residues, the wild type 16"):
        variant_between(SEQUENCE, SEQUENCE[1:])


def test_saturation_is_nineteen_substitutions_at_every_known_residue_and_twenty_at_an_unknown_one():
    scan = saturation(SEQUENCE, first=5)
    assert len(scan) == len(set(scan)) == 15 * 19 + 20
    assert all(SEQUENCE[item.position - 5] == item.wild_type != item.mutant for item in scan)


@settings(deadline=None)
@given(st.data())
def test_blosum62_score_is_the_ungapped_alignment_of_the_changed_residues(data):
    wild_type = data.draw(sequences)
    mutated = data.draw(st.text(STANDARD_RESIDUES, min_size=len(wild_type), max_size=len(wild_type)))
    before = "".join(a for a, b in zip(wild_type, mutated, strict=True) if a != b)
    after = "".join(b for a, b in zip(wild_type, mutated, strict=True) if a != b)
    expected = 0
    if before:
        matrix = SubstitutionMatrix.std_protein_matrix()
        expected = align_ungapped(ProteinSequence(before), ProteinSequence(after), matrix, score_only=True)
    assert blosum62_score(variant_between(wild_type, mutated)) == expected


def test_blosum62_has_the_published_values():
    assert [blosum62(*pair) for pair in ("WW", "AV", "IL", "WG", "EB", "XX")] == [11, 0, 2, -2, 1, -1]
    assert blosum62("U", "C") == blosum62("C", "C")
