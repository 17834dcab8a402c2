import pytest

from chaperonin.data.tables import read_table
from chaperonin.errors import InputError
from chaperonin.protein.lines import Limits


@pytest.fixture
def rows(tmp_path):
    def read(content: bytes, name: str = "in.csv", limits: Limits | None = None):
        path = tmp_path / name
        path.write_bytes(content)
        return list(read_table(path, limits or Limits()).rows)

    return read


def test_a_quoted_cell_holds_separators_quotes_and_line_ends(rows):
    first, second = rows(b'id,note,sequence\na,"x, ""y""\r\nz",MK\nb,,GG\n')
    assert first.columns == {"id": "a", "note": 'x, "y"\nz', "sequence": "MK"}
    assert (first.line, second.line) == (2, 4)


def test_a_quote_that_never_closes_costs_its_own_line_only(rows):
    first, bad, last = rows(b'id,sequence\na,MK\n"b,GG\nc,TA\n')
    assert (first.error, last.error) == (None, None)
    assert "never closed" in bad.error.what
    assert last.columns == {"id": "c", "sequence": "TA"}


def test_a_quoted_cell_longer_than_any_line_may_be_is_a_quote_that_never_closes(rows):
    found = rows(b'id,sequence\n"b,GG\n' + b"c,TA\n" * 20_000 + b'"d,GG\n', limits=Limits(residues=10))
    assert len(found) == 20_002
    assert [row.line for row in found if row.error] == [2, 20_003]


def test_quotes_in_a_tsv_are_plain_characters_unless_they_enclose_a_cell(rows):
    first, second, third = rows(b'id\tnote\na\t5" end\nb\t"open\nc\t"whole ""cell"""\n', "in.tsv")
    assert [row.columns["note"] for row in (first, second, third)] == ['5" end', '"open', 'whole "cell"']


@pytest.mark.parametrize("mark", [b",", b";", b"\t"])
def test_the_header_shows_what_parts_the_cells(rows, mark):
    (row,) = rows(b"id" + mark + b"sequence\na" + mark + b"MK\n")
    assert row.columns == {"id": "a", "sequence": "MK"}


def test_a_row_may_lack_empty_cells_but_not_have_too_many(rows):
    short, padded, long = rows(b"id,sequence,note\na,MK\nb,GG,,,\nc,TA,x,y\n")
    assert short.columns == {"id": "a", "sequence": "MK", "note": ""}
    assert padded.error is None
    assert "4 cells, the header 3" in long.error.what


def test_column_names_are_made_distinct(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(" id ,a,a,,\n")
    assert read_table(path).header == ("id", "a", "a_2", "", "_2")


def test_bytes_that_are_not_utf8_are_replaced_with_a_note(rows):
    (row,) = rows(b"id,note\na,caf\xe9\n")
    assert row.columns["note"] == "caf\ufffd"
    assert row.notes == ("bytes that are not UTF-8 replaced",)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_table_without_header_is_refused(rows, content):
    with pytest.raises(InputError, match="empty"):
        rows(content)


def test_a_header_that_cannot_be_read_is_refused(rows):
    with pytest.raises(InputError, match="header"):
        rows(b'id,"sequence\na,MK\n')
    with pytest.raises(InputError, match="line longer"):
        rows(b"id," * 30_000, limits=Limits(residues=10))
