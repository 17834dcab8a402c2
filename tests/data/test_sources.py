import csv
import gzip
import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.data.sources import Record, Rejected, csv_cell, fingerprint, read_records
from chaperonin.errors import InputError
from chaperonin.protein.lines import Limits
from chaperonin.protein.sequence import file_name


def write(folder, name: str, content: bytes | str):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def brief(records) -> list[tuple[str, str]]:
    """Id and sequence of each record, or id and the beginning of the error."""
    return [
        (item.id, item.sequence) if isinstance(item, Record) else (item.id, f"! {item.error.what}")
        for item in records
    ]


LONG = "MKTAYIAKQR" * 4000

# name, content of a FASTA file, what comes out as (id, sequence) or (id, "! part of the error"), notes
POLICY = [
    ("lower case", b">a\nmktayi\n", [("a", "MKTAYI")], "lower case made upper case"),
    ("trailing stop", b">a\nMKTAYI*\n", [("a", "MKTAYI")], "trailing * removed"),
    ("inner stop", b">a\nMK*TAYI*\n", [("a", "! a stop (*) inside the sequence, at residue 3 of 7")], None),
    (
        "unusual residues",
        b">a\nMXBZUO\n",
        [("a", "MXBZUO")],
        "unusual residues kept: X 1, B 1, Z 1, U 1, O 1",
    ),
    ("J", b">a\nMKJ\n", [("a", "! the letter J (leucine or isoleucine) at residue 3")], None),
    ("another letter", ">a\nMKÑ\n".encode(), [("a", "! the character 'Ñ' (U+00D1) at residue 3")], None),
    ("gap -", b">a\nMK-TA\n", [("a", "! a gap (-) at residue 3")], None),
    ("gap .", b">a\nMK.TA\n", [("a", "! a gap (.) at residue 3")], None),
    ("digits", b">a\n   1 mktay iakqr\n  11 gg\n", [("a", "MKTAYIAKQRGG")], "spaces and digits removed: 11"),
    ("tabs", b">a\tof something\nMK\tTA\n", [("a", "MKTA")], "spaces and digits removed: 1"),
    ("byte-order mark", b"\xef\xbb\xbf>a\nMKTA\n", [("a", "MKTA")], ""),
    ("CRLF", b">a\r\nMK\r\nTA\r\n>b\r\nGG\r\n", [("a", "MKTA"), ("b", "GG")], ""),
    ("CR", b">a\rMK\rTA\r", [("a", "MKTA")], ""),
    (
        "empty record",
        b">a\n>b\nGG\n>c\n\n",
        [("a", "! the sequence is empty"), ("b", "GG"), ("c", "! the seq")],
        "",
    ),
    ("header only", b">a", [("a", "! the sequence is empty")], None),
    ("no header", b"MKTA\n", [("row_1", "! text before the first header")], None),
    ("no id", b">\nMKTA\n", [("row_1", "MKTA")], "no id in the header"),
    ("mask", b">a\nMK<mask>TA\n", [("a", "! special token '<mask>' at residue 3")], None),
    ("duplicate ids", b">a\nMK\n>a\nTA\n", [("a", "MK"), ("a_2", "TA")], "another record has the id a"),
    ("unsafe ids", b">../../etc/passwd\nMK\n>CON\nTA\n", [("../../etc/passwd", "MK"), ("CON", "TA")], ""),
    ("non-ASCII id", ">蛋白\nMK\n".encode(), [("蛋白", "MK")], ""),
    ("non-UTF-8 id", b">caf\xe9\nMK\n", [("caf\ufffd", "MK")], "bytes of the id that are not UTF-8 replaced"),
    ("non-UTF-8 residue", b">a\nMK\xe9\n>b\nGG\n", [("a", "! the sequence holds a byte"), ("b", "GG")], ""),
    ("NUL", b">a\nMK\0\n", [("a", r"! the character '\x00' at residue 3")], None),
    ("40,000 residues", f">a\n{LONG}\n".encode(), [("a", LONG)], ""),
    (
        "1,000,001 residues",
        b">a\n" + b"A" * 1_000_001,
        [("a", "! a sequence of 1,000,001 residues; the li")],
        None,
    ),
    ("comments", b"; old\n>a\n;style\nMK\n", [("a", "MK")], ""),
    ("formula as id", b">=cmd|x\nMK\n", [("=cmd|x", "MK")], ""),
]


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(
    ("content", "expected", "note"), [row[1:] for row in POLICY], ids=[row[0] for row in POLICY]
)
def test_the_input_policy_holds_in_fasta_files(tmp_path, content, expected, note, is_compressed):
    name, content = ("in.fasta.gz", gzip.compress(content)) if is_compressed else ("in.fasta", content)
    found = list(read_records(write(tmp_path, name, content)))
    assert [item.number for item in found] == list(range(1, len(expected) + 1))
    for (id, text), (wanted_id, wanted) in zip(brief(found), expected, strict=True):
        assert id == wanted_id
        assert text.startswith(wanted) if wanted.startswith("!") else text == wanted
    notes = [text for item in found if isinstance(item, Record) for text in item.notes]
    if note is not None:
        assert note in notes if note else notes == []
    for item in found:
        assert item.where.startswith(name + ":")
        assert file_name(item.id).replace(".", "").isascii()
        if isinstance(item, Rejected):
            assert item.error.where == item.where
            assert item.error.advice


CELLS = [row for row in POLICY if b">a\n" in row[1][:6] and row[1].count(b">") == 1 and b"\xe9" not in row[1]]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize(
    ("content", "expected", "note"), [row[1:] for row in CELLS], ids=[row[0] for row in CELLS]
)
def test_the_input_policy_holds_in_tables(tmp_path, content, expected, note, suffix):
    sequence = (
        content.removeprefix(b"\xef\xbb\xbf").decode().partition("\n")[2].replace("\n", "").replace("\r", "")
    )
    sequence = sequence.replace("\t", " ")
    table = f"id,sequence\na,{sequence}\nz,GG\n"
    if ".tsv" in suffix:
        table = table.replace(",", "\t")
    content = table.encode()
    if suffix.endswith(".gz"):
        content = gzip.compress(content)
    first, last = read_records(write(tmp_path, "in" + suffix, content))
    ((_, text),) = brief([first])
    assert text.startswith(expected[0][1]) if expected[0][1].startswith("!") else text == expected[0][1]
    assert brief([last]) == [("z", "GG")]
    if note and isinstance(first, Record):
        assert any(note.partition(":")[0] in given for given in first.notes)


def test_unknown_letters_become_x_on_request(tmp_path):
    path = write(tmp_path, "in.fasta", ">a\nMKJ\n")
    (record,) = read_records(path, unknown="X")
    assert record.sequence == "MKX"
    assert record.notes == ("J replaced by X: 1", "unusual residues kept: X 1")


def test_a_truncated_gz_keeps_the_records_before_it_and_names_the_place(tmp_path):
    content = b"".join(
        b">P%d\n%s\n"
        % (
            number,
            hashlib.sha256(b"%d" % number)
            .hexdigest()
            .upper()
            .translate(str.maketrans("0123456789B", "GHIKLMNPQRS"))
            .encode(),
        )
        for number in range(500)
    )
    whole = list(read_records(write(tmp_path, "in.fasta", content)))
    packed = gzip.compress(content)
    found = list(read_records(write(tmp_path, "in.fasta.gz", packed[: len(packed) // 2])))
    *before, last = found
    assert len(before) > 100
    assert brief(before) == brief(whole[: len(before)])
    assert isinstance(last, Rejected)
    assert "damaged or cut off" in last.error.what
    table = b"id,sequence\n" + b"".join(f"{record.id},{record.sequence}\n".encode() for record in whole)
    packed = gzip.compress(table)
    *before, last = read_records(write(tmp_path, "in.csv.gz", packed[: len(packed) // 2]))
    assert brief(before) == brief(whole[: len(before)])
    assert isinstance(last, Rejected)


def test_no_suffix_takes_the_name_of_a_real_record(tmp_path):
    path = write(
        tmp_path, "in.fasta", ">x_2\nMK\n>x\nMK\n>x\nMK\n>x\nMK\n>x_4\nMK\n>row_6\nMK\n>\nMK\n>x_2\nMK\n"
    )
    records = list(read_records(path))
    assert [record.id for record in records] == ["x_2", "x", "x_3", "x_5", "x_4", "row_6", "row_7", "x_2_2"]
    assert [bool(record.notes) for record in records] == [False, False, True, True, False, False, True, True]


@given(st.lists(st.sampled_from(["x", "x_2", "x_3", "x_2_2", "row_1", "row_2", ""]), min_size=1, max_size=12))
def test_ids_are_unique_and_the_first_of_each_keeps_its_own(tmp_path_factory, ids):
    path = write(tmp_path_factory.mktemp("ids"), "in.csv", "id,seq\n" + "".join(f"{id},MK\n" for id in ids))
    found = [record.id for record in read_records(path)]
    assert len(set(found)) == len(ids)
    for place, id in enumerate(ids):
        if id.startswith("x") and id not in ids[:place]:
            assert found[place] == id


@pytest.mark.parametrize("column", ["sequence", "mutated_sequence", "protein", "seq", "Sequence", "SEQUENCE"])
@pytest.mark.parametrize("id_column", ["id", "ID", "name", "acc", "ACC", "entry", "Entry"])
def test_the_usual_column_names_are_known(tmp_path, column, id_column):
    path = write(tmp_path, "in.tsv", f"{id_column}\tlabel\t{column}\np\t=1\tMKT\n")
    (record,) = read_records(path)
    assert (record.id, record.sequence) == ("p", "MKT")
    assert record.columns == {id_column: "p", "label": "=1", column: "MKT"}
    assert record.where == "in.tsv:2"


def test_columns_can_be_chosen_and_must_then_be_there(tmp_path):
    path = write(tmp_path, "in.csv", "id,sequence,wt,key\na,MKT,GGG,k\n")
    (record,) = read_records(path, sequence_column="wt", id_column="key")
    assert (record.id, record.sequence) == ("k", "GGG")
    for columns in ({"sequence_column": "nope"}, {"id_column": "nope"}):
        with pytest.raises(InputError, match="no column 'nope'; the header has 'id', 'sequence'"):
            list(read_records(path, **columns))


def test_a_table_without_ids_numbers_its_rows_over_all_files(tmp_path):
    write(tmp_path, "a.csv", "sequence\nMK\nTA\n")
    write(tmp_path, "b.csv", "sequence\nGG\n")
    assert brief(read_records(tmp_path)) == [("row_1", "MK"), ("row_2", "TA"), ("row_3", "GG")]


def test_a_table_without_header_is_refused(tmp_path):
    with pytest.raises(InputError, match="no column 'sequence'; the header has 'P1', 'MKT'"):
        list(read_records(write(tmp_path, "in.csv", "P1,MKT\nP2,GGG\n")))


def test_a_folder_is_read_in_order_and_bad_files_are_one_failure_each(tmp_path):
    write(tmp_path, "c.fasta", ">a\nMK\n")
    write(tmp_path, "b.csv", "id,sequence\na,TA\n")
    write(tmp_path, "a.txt", ">never\nread\n")
    write(tmp_path, "d.csv", "nothing,here\n1,2\n")
    write(tmp_path, "e.fasta", "")
    write(tmp_path, "f.fasta", "\n\n")
    write(tmp_path, ".hidden.fasta", ">h\nMK\n")
    (tmp_path / "g").mkdir()
    os.mkfifo(tmp_path / "h.fasta")
    (tmp_path / "i.fasta").symlink_to(tmp_path / "none")
    found = brief(read_records(tmp_path))
    assert [id for id, _ in found] == [
        "a.txt",
        "a",
        "a_2",
        "d.csv",
        "e.fasta",
        "f.fasta",
        "g",
        "h.fasta",
        "i.fasta",
    ]
    assert [text[0] for _, text in found] == ["!", "T", "M", "!", "!", "!", "!", "!", "!"]


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "; nothing\n"])
@pytest.mark.parametrize("name", ["in.fasta", "in.csv"])
def test_an_input_without_records_is_refused(tmp_path, name, content):
    if name == "in.csv" and content.startswith(";"):
        content = "id,sequence\n"
    with pytest.raises(InputError, match=r"empty|no records"):
        list(read_records(write(tmp_path, name, content)))


def test_what_cannot_be_read_is_refused_before_anything_else(tmp_path):
    os.mkfifo(tmp_path / "pipe.fasta")
    for path in (tmp_path / "none.fasta", tmp_path / "pipe.fasta", tmp_path / "a\0b.fasta"):
        with pytest.raises(InputError):
            read_records(path)
        with pytest.raises(InputError):
            fingerprint(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no records"):
        list(read_records(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"suffix '\.json'"):
        list(read_records(write(tmp_path, "in.json", "{}")))


def test_a_single_fasta_file_may_have_any_suffix(tmp_path):
    assert brief(read_records(write(tmp_path, "in.txt", "\n>a\nMK\n"))) == [("a", "MK")]


def test_names_on_disk_need_not_be_unicode(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.fasta"
    with open(path, "wb") as file:
        file.write(b">a\nJ\n")
    (rejected,) = read_records(os.fsdecode(path))
    assert rejected.where == "caf\ufffd.fasta:1"
    assert fingerprint(tmp_path)


def test_the_limit_holds_in_tables_too(tmp_path):
    path = write(tmp_path, "in.csv", f"id,sequence\na,{'A' * 11}\nb,{'A' * 200_000}\nc,AA\n")
    found = brief(read_records(path, limits=Limits(residues=10)))
    assert found[0] == ("a", "! a sequence of 11 residues; the limit is 10")
    assert found[1][1].startswith("! a line longer than")
    assert found[2] == ("c", "AA")


def test_a_fingerprint_is_of_the_bytes(tmp_path):
    path = write(tmp_path, "in.fasta", ">a\nMK\n")
    assert fingerprint(path) == hashlib.sha256(b">a\nMK\n").hexdigest()
    before = fingerprint(tmp_path)
    assert fingerprint(str(tmp_path)) == before
    write(tmp_path, ".hidden", "x")
    assert fingerprint(tmp_path) == before
    path.rename(tmp_path / "other.fasta")
    assert fingerprint(tmp_path) != before


FRAGMENTS = [
    b">",
    b"\n",
    b"\r\n",
    b"\r",
    b"id",
    b"sequence",
    b",",
    b"\t",
    b'"',
    b";",
    b"MKTA",
    b"J",
    b"*",
    b"\xff",
    b"\0",
]
FRAGMENTS += [
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b" ",
    "é".encode(),
    b"<mask>",
    b"id,sequence\n",
    b"x\tseq\n",
    b"=1",
    b"-",
]


@settings(max_examples=400)
@given(
    st.binary(max_size=300) | st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join),
    st.sampled_from(["in.fasta", "in.csv", "in.tsv", "in"]),
    st.sampled_from(["plain", "gz", "cut"]),
)
def test_any_bytes_give_numbered_records_or_an_input_error(tmp_path_factory, content, name, packing):
    if packing != "plain":
        name, content = name + ".gz", gzip.compress(content)
        if packing == "cut":
            content = content[: len(content) * 2 // 3]
    path = write(tmp_path_factory.mktemp("any"), name, content)
    try:
        found = list(read_records(path, limits=Limits(residues=50)))
    except InputError:
        return
    assert [item.number for item in found] == list(range(1, len(found) + 1))
    assert len({item.id for item in found}) == len(found)


@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.text(max_size=20), st.sampled_from(["MKT", "GG", "mk", "J", ""])),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([",", ";"]),
)
def test_every_row_that_a_csv_writer_writes_comes_back_once(tmp_path_factory, rows, delimiter):
    rows = [(id.replace("\0", ""), note.replace("\0", ""), sequence) for id, note, sequence in rows]
    path = tmp_path_factory.mktemp("csv") / "in.csv"
    with open(path, "w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["name", "note", "seq"])
        writer.writerows(rows)
    found = list(read_records(path))
    assert len(found) == len(rows)
    for item, (_, note, sequence) in zip(found, rows, strict=True):
        assert isinstance(item, Record) == (sequence in ("MKT", "GG", "mk"))
        if isinstance(item, Record):
            written = note.encode("utf-8", "replace").decode()
            assert item.columns["note"] == written.replace("\r\n", "\n").replace("\r", "\n")
            assert item.sequence == sequence.upper()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+2", "+2"),
        ("-inf", "-inf"),
        ("A=1", "A=1"),
        ("", ""),
        ("P69905", "P69905"),
    ],
)
def test_cells_that_would_run_as_formulas_are_quoted_on_export(text, cell):
    assert csv_cell(text) == cell


def test_real_tables_are_read_to_the_last_row(real_data):
    counts = {
        "localization/deeploc1_train.tsv.gz": 11_085,
        "localization/deeploc2_ninesignals_subset.csv.gz": 1_688,
        "localization/psortdb3_gramneg.tsv.gz": 8_230,
    }
    for name, count in counts.items():
        records = list(read_records(real_data / name))
        assert len(records) == count
        assert all(isinstance(record, Record) for record in records)
