import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperonin.errors import InputError
from chaperonin.protein.alignment import Alignment, join, read_a3m, read_stockholm, single_sequence
from chaperonin.protein.atoms import RESIDUES

# What HHblits makes of each letter, in AlphaFold's order of residues.
LETTERS = {**{letter: number for number, letter in enumerate(RESIDUES)}, "B": 3, "Z": 6, "U": 4}
LETTERS |= {"X": 20, "J": 20, "O": 20, "-": 21}


def read_slowly(text: str) -> tuple[list[str], list[list[int]], list[list[int]]]:
    """Names, residues and deletions, letter by letter."""
    names: list[str] = []
    rows: list[str] = []
    for line in text.splitlines():
        if line.startswith(">"):
            names.append(line[1:].strip())
            rows.append("")
        elif not line.startswith(("#", ";")):
            rows[-1] += line
    residues, deletions = [], []
    for row in rows:
        residues.append([LETTERS[letter] for letter in row if letter in LETTERS])
        counts, inserted = [], 0
        for letter in row:
            if letter in LETTERS:
                counts.append(inserted)
                inserted = 0
            elif letter != ".":
                inserted += 1
        deletions.append(counts)
    return names, residues, deletions


def require_same(alignment: Alignment, text: str) -> None:
    names, residues, deletions = read_slowly(text)
    assert alignment.names == tuple(names)
    np.testing.assert_array_equal(alignment.residues, residues)
    np.testing.assert_array_equal(alignment.deletions, deletions)
    assert alignment.residues.dtype == np.int8


INSERT = st.text("acdwy.", max_size=3)
COLUMN = st.sampled_from(sorted(LETTERS))


@st.composite
def a3m_texts(draw: st.DrawFn) -> str:
    length = draw(st.integers(1, 7))
    query = draw(st.text(RESIDUES + "XBU", min_size=length, max_size=length))
    lines = [draw(st.sampled_from(["", "#7\t1\n"])) + ">query", query]
    for row in range(draw(st.integers(0, 5))):
        letters = "".join(draw(INSERT) + draw(COLUMN) for _ in range(length)) + draw(INSERT)
        cut = draw(st.integers(0, len(letters)))
        lines += [f">row {row}", *([letters[:cut], letters[cut:]] if draw(st.booleans()) else [letters])]
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))


@given(a3m_texts())
def test_a3m_means_the_same_read_letter_by_letter(text: str) -> None:
    require_same(read_a3m(text), text)


@given(a3m_texts())
def test_line_ends_do_not_change_what_is_read(text: str) -> None:
    require_same(read_a3m(text.replace("\n", "\r\n")), text)


def test_deletions_are_the_lower_case_letters_before_a_column() -> None:
    alignment = read_a3m(">q\nACDE\n>r extra words\n-acCd-Eklm\n")
    assert alignment.query == "ACDE"
    assert alignment.names == ("q", "r extra words")
    assert alignment.residues.tolist()[1] == [21, 4, 21, 6]
    assert alignment.deletions.tolist() == [[0, 0, 0, 0], [0, 2, 1, 0]]


def test_columns_where_the_query_has_a_gap_are_insertions() -> None:
    aligned = read_a3m(">q\nA--CD\n>r\nAKL-D\n>s\nA-yLCD\n")
    same = read_a3m(">q\nACD\n>r\nAkl-D\n>s\nAylCD\n")
    np.testing.assert_array_equal(aligned.residues, same.residues)
    np.testing.assert_array_equal(aligned.deletions, same.deletions)
    assert aligned.query == "ACD"


def test_annotation_of_secondary_structure_is_no_sequence() -> None:
    alignment = read_a3m(">ss_pred\nCHHE\n>ss_conf\n9876\n>q\nACDE\n")
    assert alignment.names == ("q",)


def test_gzip_and_a_byte_order_mark_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "packed.a3m"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf>q\nACD\n>r\n-CD\n"))
    assert len(read_a3m(path)) == 2


STOCKHOLM = """# STOCKHOLM 1.0
#=GS hit/1-9 DE [subseq from] something

query             AC--D
hit/1-9           ACKLd
#=GR hit/1-9 PP   99887
other             .CK-D
#=GC RF           xx..x

query             -EF
hit/1-9           WEF
other             ~-F
//
"""


def test_stockholm_is_the_a3m_of_its_query() -> None:
    alignment = read_stockholm(STOCKHOLM)
    same = read_a3m(">query\nACDEF\n>hit/1-9\nACklDwEF\n>other\n-CkD-F\n")
    assert alignment.query == same.query
    assert alignment.names == same.names
    np.testing.assert_array_equal(alignment.residues, same.residues)
    np.testing.assert_array_equal(alignment.deletions, same.deletions)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", "", "empty"),
        (" \n\n", "", "empty"),
        ("#7\t1\n", "", "no sequence"),
        ("#3,2\t1,2\n>101\t102\nACDEF\n", ":1", "complex, of chains of 3,2 residues"),
        ("ACD\n>q\nACD\n", ":1", "before the first header"),
        ("\n# note\nACD\n", ":3", "before the first header"),
        (">q\n\n>r\nACD\n", ":3", "3 columns, the query 0"),
        (">q\n\n", ":1", "no residue"),
        (">q\n---\n", ":1", "no residue"),
        (">q\nACD\n>r\nACD\n>s\nAC\nDE\n", ":5", r"sequence 3 \(s\) has 4 columns, the query 3"),
        (">q\nAcCD\n>r\nACD\n", ":1", "lower-case"),
        (">q\nACD\n>r\nAC*\n", ":3", r"character 3 of the sequence r is '\*'"),
        (">q\nACD\n>r\nAC1\n", ":3", "'1'"),
        (">q\nACD\n>r\nACé\n", ":3", "0xc3"),
        (">q\nACD\n\0>r\nACD\n", ":3", "NUL"),
    ],
)
def test_a_broken_a3m_names_the_line_and_what_to_do(text: str, line: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read_a3m(text)
    assert refused.value.where == f"the A3M text{line}"
    assert refused.value.advice


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", "", "empty"),
        (">q\nACD\n", ":1", "not a Stockholm file"),
        ("# STOCKHOLM 1.0\n//\n", "", "no sequence"),
        ("# STOCKHOLM 1.0\nq ACD\n", ":3", "no end"),
        ("# STOCKHOLM 1.0\nq ACD\nr ACDE\n//\n", ":3", "4 columns, the query 3"),
        ("# STOCKHOLM 1.0\nq ACD\nr ACD\n\nq ACD\n//\n", ":3", "3 columns, the query 6"),
        ("# STOCKHOLM 1.0\nq ACD\nr A C D\n//\n", ":3", "4 words"),
        ("# STOCKHOLM 1.0\nq ACD\nr AC1\n//\n", ":3", "'1'"),
        ("# STOCKHOLM 1.0\nq ACD\n//\n# STOCKHOLM 1.0\n", ":4", "second alignment"),
        ("# STOCKHOLM 1.0\nq ...\n//\n", ":2", "no residue"),
    ],
)
def test_a_broken_stockholm_names_the_line_and_what_to_do(text: str, line: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read_stockholm(text)
    assert refused.value.where == f"the Stockholm text{line}"
    assert refused.value.advice


def test_a_file_that_is_cut_off_or_absent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.a3m.gz"
    path.write_bytes(gzip.compress(b">q\nACD\n" * 100)[:-10])
    with pytest.raises(InputError, match="damaged"):
        read_a3m(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_a3m(tmp_path / "absent.a3m")
    (tmp_path / "wide.a3m").write_bytes(">q\nACD\n".encode("utf-16"))
    with pytest.raises(InputError, match="UTF-16"):
        read_a3m(tmp_path / "wide.a3m")


@pytest.mark.parametrize(
    ("query", "words"),
    [("ACDE", "3 residues, the sequence to fold 4"), ("AWD", "residue 2 of the query is C")],
)
def test_a_query_that_is_not_the_wanted_one_is_refused(query: str, words: str) -> None:
    text = "#3\t1\n>q\nACD\n"
    with pytest.raises(InputError, match=words) as refused:
        read_a3m(text, query)
    assert refused.value.where.endswith(":2")
    assert len(read_a3m(text, "ACD")) == len(read_a3m(text, "AUD")) == 1


def test_a_single_sequence_is_an_alignment_of_itself() -> None:
    alone, read = single_sequence("ACDXU"), read_a3m(">query\nACDXU\n")
    assert (alone.query, alone.names) == (read.query, read.names)
    np.testing.assert_array_equal(alone.residues, read.residues)
    np.testing.assert_array_equal(alone.deletions, read.deletions)


@pytest.mark.parametrize(
    ("sequence", "words"), [("", "empty"), ("ACd", "letter 3 is 'd'"), ("Aé", "'é'"), ("A-", "'-'")]
)
def test_a_single_sequence_with_other_letters_is_refused(sequence: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        single_sequence(sequence)


@given(st.lists(st.text("AC-", min_size=3, max_size=3), max_size=8), st.integers(0, 8))
def test_join_keeps_the_first_of_equal_rows(rows: list[str], cut: int) -> None:
    def read(part: list[str], start: int) -> Alignment:
        return read_a3m(">q\nACD\n" + "".join(f">{start + n}\n{row}\n" for n, row in enumerate(part)))

    joined = join([read(rows[:cut], 0), read(rows[cut:], cut)])
    first = {row: f"{number}" for number, row in reversed(list(enumerate(rows))) if row != "ACD"}
    expected = sorted(first.items(), key=lambda item: int(item[1]))
    assert joined.names == ("q", *(name for _, name in expected))
    assert joined.residues[1:].tolist() == [[LETTERS[letter] for letter in row] for row, _ in expected]


def test_join_keeps_the_deletions_of_the_row_it_keeps() -> None:
    joined = join([read_a3m(">q\nACD\n>a\n-kCD\n"), read_a3m(">q\nACD\n>b\n-CD\n>c\nAC-\n")])
    assert joined.names == ("q", "a", "c")
    assert joined.deletions.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_join_refuses_other_queries_and_nothing() -> None:
    with pytest.raises(InputError, match="residue 2") as refused:
        join([single_sequence("ACD"), single_sequence("AWD")])
    assert refused.value.where == "alignment 2"
    with pytest.raises(InputError, match="no alignment"):
        join([])


def test_real_a3m_files_mean_the_same_read_letter_by_letter(real_data: Path) -> None:
    paths = sorted((real_data / "structures/msa").rglob("*.a3m.gz"))
    paths = [path for path in paths if path.stat().st_size < 100_000]
    assert paths
    for path in paths:
        require_same(read_a3m(path), gzip.decompress(path.read_bytes()).decode())


def test_real_stockholm_files_hold_each_row_without_its_query_gaps(real_data: Path) -> None:
    paths = sorted((real_data / "structures/msa").rglob("*.sto.gz"))
    assert paths
    for path in paths:
        rows: dict[str, str] = {}
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            if line.strip() and not line.startswith(("#", "//")):
                name, letters = line.split()
                rows[name] = rows.get(name, "") + letters
        first = next(iter(rows.values()))
        text = ""
        for name, row in rows.items():
            kept = (b if a != "-" else b.lower().replace("-", "") for a, b in zip(first, row, strict=True))
            text += f">{name}\n{''.join(kept)}\n"
        require_same(read_stockholm(path), text)


def test_a2m_whose_query_has_insertions_is_refused_with_advice(real_data: Path) -> None:
    with pytest.raises(InputError, match="lower-case") as refused:
        read_a3m(real_data / "structures/msa/BLAT_ECOLX/BLAT_ECOLX.a2m.gz")
    assert "upper case" in refused.value.advice
