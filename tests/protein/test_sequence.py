import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.errors import InputError, UsageError
from chaperonin.protein.alphabet import STANDARD_RESIDUES
from chaperonin.protein.sequence import UNUSUAL_RESIDUES, clean, file_name, file_names


@pytest.mark.parametrize(
    ("text", "sequence", "notes"),
    [
        ("MKTAYI", "MKTAYI", ()),
        ("mkTayi", "MKTAYI", ("lower case made upper case",)),
        ("MKT*", "MKT", ("trailing * removed",)),
        ("MKT*\n", "MKT", ("spaces and digits removed: 1", "trailing * removed")),
        ("1 mkta\t10 yi", "MKTAYI", ("spaces and digits removed: 6", "lower case made upper case")),
        ("MXBXZUO", "MXBXZUO", ("unusual residues kept: X 2, B 1, Z 1, U 1, O 1",)),
        ("xx", "XX", ("lower case made upper case", "unusual residues kept: X 2")),
    ],
)
def test_a_sequence_is_cleaned_with_a_note_for_each_change(text, sequence, notes):
    assert clean(text) == (sequence, notes)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("MK*TA*", "a stop (*) inside the sequence, at residue 3"),
        ("MKT**", "a stop (*) inside the sequence, at residue 4"),
        ("*MKT", "at residue 1"),
        ("MKJ", "the letter J (leucine or isoleucine) at residue 3"),
        ("MK-T", "a gap (-) at residue 3"),
        ("M.KT", "a gap (.) at residue 2"),
        ("MK<mask>T", "special token '<mask>' at residue 3"),
        ("10 MK<eos>", "special token '<eos>' at residue 3"),
        ("MK<", "special token '<' at residue 3"),
        ("MKÄ", "'Ä' (U+00C4) at residue 3 is not ASCII"),
        ("МKT", "(U+041C) at residue 1 is not ASCII"),
        ("MK\x00T", r"'\x00' at residue 3"),
        ("MK#T", "'#' at residue 3"),
        ("MKT:AYI", "':' at residue 4"),
        ("", "empty"),
        (" 12\t", "empty"),
        ("*", "empty"),
    ],
)
@pytest.mark.parametrize("unknown", [None, "X"])
def test_what_is_no_sequence_is_refused_with_its_place(text, what, unknown):
    if "J" in text and unknown:
        assert clean(text, unknown).sequence == text.replace("J", "X")
        return
    with pytest.raises(InputError, match=re.escape(what)) as caught:
        clean(text, unknown)
    assert caught.value.advice


def test_j_becomes_x_only_on_request_and_is_counted():
    assert clean("MJjX", unknown="X").notes == (
        "lower case made upper case",
        "J replaced by X: 2",
        "unusual residues kept: X 3",
    )


def test_unknown_residues_can_only_become_x():
    with pytest.raises(UsageError, match="'G'"):
        clean("MKT", unknown="G")


@given(st.text())
def test_any_text_is_cleaned_to_known_letters_or_refused(text):
    try:
        sequence = clean(text, unknown="X").sequence
    except InputError:
        return
    assert sequence
    assert set(sequence) <= set(STANDARD_RESIDUES + UNUSUAL_RESIDUES)
    assert clean(sequence).sequence == sequence


@pytest.mark.alone
def test_a_clean_sequence_of_a_million_residues_takes_under_ten_milliseconds():
    sequence = STANDARD_RESIDUES * 50_000
    best = min(_seconds(sequence) for _ in range(20))
    assert best < 0.010


def _seconds(sequence: str) -> float:
    start = time.perf_counter()
    clean(sequence)
    return time.perf_counter() - start


@pytest.mark.parametrize("id", ["P69905", "NP_000508.1", "1ABC_A", "ROW_3", "A" * 100, "_X"])
def test_a_safe_id_is_its_own_file_name(id):
    assert file_name(id) == id


HOSTILE = [
    "..",
    ".",
    "",
    " ",
    "../../etc/passwd",
    "CON",
    "con.fasta",
    "LPT1",
    "A/B",
    "A\\B",
    "-RF",
    ".HIDDEN",
    "A.",
]
HOSTILE += [
    "A" * 101,
    "A" * 300,
    "Ä",
    "蛋白",
    "sp|P69905|HBA_HUMAN",
    "A\nB",
    "A\0B",
    "seq1",
    "SEQ-0123456789AB",
]


@pytest.mark.parametrize("id", HOSTILE)
def test_a_file_name_is_always_portable(id):
    name = file_name(id)
    assert name != id
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+=-]{0,99}", name)
    assert not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
    assert file_name(id) == name


ids = st.text(alphabet="aA1-_|.ÄCON", max_size=6) | st.sampled_from(HOSTILE)


@given(st.sets(ids | ids.map(file_name), max_size=30))
def test_no_two_ids_share_a_file_name_whatever_the_case(names):
    single = [file_name(id) for id in names]
    assert len({name.lower() for name in single}) == len(names)
    together = file_names(names)
    assert together.keys() == names
    assert len({name.lower() for name in together.values()}) == len(names)


def test_names_of_many_ids_are_plain_unless_only_case_parts_two():
    assert file_names(["seq1", "ubiquitin", "Abc", "ABC"]) == {
        "seq1": "seq1",
        "ubiquitin": "ubiquitin",
        "Abc": file_name("Abc"),
        "ABC": file_names(["ABC", "abc"])["ABC"],
    }
    assert file_names(["Abc", "ABC"]) == file_names(["ABC", "Abc"])
