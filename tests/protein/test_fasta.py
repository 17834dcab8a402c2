import gzip
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaperonin.errors import InputError
from chaperonin.protein import lines
from chaperonin.protein.fasta import clean_id, read_fasta
from chaperonin.protein.lines import Limits


@pytest.fixture
def entries(tmp_path):
    def read(content: bytes, limits: Limits = lines.DEFAULT_LIMITS):
        path = tmp_path / "some.fasta"
        path.write_bytes(content)
        return list(read_fasta(path, limits))

    return read


def test_an_entry_has_number_line_id_description_and_text(entries):
    first, second = entries(b">P1 the first one\nMKT\nAYI\n\n>P2\nGG\n")
    assert first == (1, 1, "P1", "the first one", "MKTAYI", (), None)
    assert second == (2, 5, "P2", "", "GG", (), None)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1 << 18])
def test_line_ends_marks_and_blocks_make_no_difference(entries, monkeypatch, newline, mark, block_bytes):
    monkeypatch.setattr(lines, "_BLOCK_BYTES", block_bytes)
    text = b"\n; a comment\n>P1 one\nMKT\n; another\nAYI\n\n>P2\tx\n\nGG\n>\n>P3"
    found = entries(mark + text.replace(b"\n", newline))
    assert [(entry.line, entry.id, entry.sequence) for entry in found] == [
        (3, "P1", "MKTAYI"),
        (8, "P2", "GG"),
        (11, "", ""),
        (12, "P3", ""),
    ]
    assert all(entry.error is None for entry in found)


def test_text_before_the_first_header_is_one_entry_with_an_error(entries):
    bad, good = entries(b"\n;c\nMKT\nAYI\n>P1\nMK\n")
    assert (bad.number, bad.line, bad.sequence) == (1, 3, "")
    assert "before the first header" in str(bad.error)
    assert (good.number, good.line, good.sequence) == (2, 5, "MK")


def test_a_file_without_headers_is_one_entry_with_an_error(entries):
    (bad,) = entries(b"MKT\nAYI\n")
    assert bad.error is not None


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"; only a comment\n"])
def test_a_file_without_text_has_no_entries(entries, content):
    assert entries(content) == []


def test_bytes_that_are_not_utf8_are_replaced_in_headers_and_refused_in_sequences(entries):
    header, sequence, after = entries(b">caf\xe9 d\xe9\nMKT\n>P2\nMK\xff\n>P3\nGG\n")
    assert header.id == "caf\ufffd"
    assert header.description == "d\ufffd"
    assert header.sequence == "MKT"
    assert header.notes == ("bytes of the id that are not UTF-8 replaced",)
    assert "0xff, character 3" in str(sequence.error)
    assert after.sequence == "GG"


def test_control_characters_never_reach_an_id(entries):
    (entry,) = entries(b">a\x00b\x1bc d\x01e\nMKT\n")
    assert entry.id == "a\ufffdb\ufffdc"
    assert entry.description == "d e"
    assert entry.notes == ("control characters of the id replaced",)


def test_nul_bytes_stay_in_the_sequence_to_be_refused_there(entries):
    assert entries(b">P1\nMK\x00T\n")[0].sequence == "MK\x00T"


def test_an_id_of_any_length_is_kept_up_to_a_thousand_characters(entries):
    assert len(entries(b">" + b"A" * 1000 + b"\nMK\n")[0].id) == 1000
    (entry,) = entries(b">" + b"A" * 1001 + b"\nMK\n")
    assert len(entry.id) == 1000
    assert entry.notes == ("id cut to 1,000 characters",)


def test_utf16_is_refused_by_its_name(entries):
    with pytest.raises(InputError, match="UTF-16"):
        entries(">P1\nMKT\n".encode("utf-16"))


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        list(read_fasta(tmp_path / "none.fasta"))


def test_gzip_is_known_by_its_content(entries):
    content = b">P1\nMKT\n"
    assert entries(gzip.compress(content)) == entries(content)
    assert entries(gzip.compress(content) + gzip.compress(b">P2\nGG\n"))[1].sequence == "GG"


def test_a_truncated_gzip_file_gives_what_precedes_the_damage(entries):
    content = b"".join(b">P%d\n%s\n" % (number, b"MKTAYI" * (number % 50)) for number in range(1, 2000))
    whole = entries(content)
    packed = gzip.compress(content)
    for size in (len(packed) - 1, len(packed) - 9, len(packed) // 2, 40, 12, 5):
        found = entries(packed[:size])
        *before, last = found
        assert before == whole[: len(before)]
        assert "damaged or cut off" in str(last.error)
        assert last.number == len(found)


def test_a_flipped_byte_in_a_gzip_file_never_goes_unnoticed(entries):
    packed = bytearray(gzip.compress(b">P1\nMKTAYI\n>P2\nGG\n"))
    packed[-6] ^= 1  # the checksum
    assert entries(bytes(packed))[-1].error is not None


def test_a_gzip_bomb_is_stopped_at_its_record(entries):
    limits = Limits(expansion=100, expansion_floor_bytes=100_000)
    packed = gzip.compress(b">P1\nMKT\n>P2\n" + b"A" * 10_000_000)
    good, bad = entries(packed, limits)
    assert good.sequence == "MKT"
    assert "more than 100 times" in str(bad.error)


SMALL = Limits(residues=10)


def test_a_sequence_up_to_the_limit_is_read_and_a_longer_one_refused(entries):
    at, over, after = entries(b">P1\nMKTAY\nMKTAY\n>P2\nMKTAYMKTAYM\n>P3\nGG\n", SMALL)
    assert at.error is None
    assert "11 residues; the limit is 10" in str(over.error)
    assert after.sequence == "GG"


def test_spaces_and_digits_do_not_count_as_residues(entries):
    assert entries(b">P1\n  1 MKTAY 10 MKTAY\n", SMALL)[0].error is None


@pytest.mark.parametrize("line", [60, 1 << 30])
@pytest.mark.parametrize("block_bytes", [1000, 1 << 18])
def test_an_endless_sequence_costs_no_memory_and_not_its_neighbours(entries, monkeypatch, line, block_bytes):
    monkeypatch.setattr(lines, "_BLOCK_BYTES", block_bytes)
    residues = b"A" * 300_000
    wrapped = b"\n".join(residues[start : start + line] for start in range(0, len(residues), line))
    content = b">P1\nMK\n>P2\n" + wrapped + b"\n>P3\nGG\n"
    before, endless, after = entries(content, SMALL)
    assert before.sequence == "MK"
    assert "more than 10 residues" in str(endless.error)
    assert (after.sequence, after.line) == ("GG", content.count(b"\n") - 1)


def _reference(text: bytes) -> list[tuple[int, bytes, bytes, int]]:
    """Line, header, residues and bytes (comments and line ends counted) of each entry, read line by line."""
    found: list[tuple[int, bytes, bytes, int]] = []
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", text), start=1):
        if line.startswith(b">"):
            found.append((number, line[1:], b"", len(line)))
        elif found:
            first, header, residues, size = found[-1]
            residues += b"" if line.startswith(b";") else line
            found[-1] = (first, header, residues, size + len(line) + 1)
    return found


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from([b">", b"\n", b"\r", b"\r\n", b";", b"A", b"MKTAYIGG", b" ", b"x"]), max_size=60
    ),
    st.integers(1, 9),
    st.integers(0, 30),
)
def test_blocks_and_limits_change_nothing_but_entries_that_are_too_long(
    tmp_path_factory, parts, block, residues
):
    text = b"".join(parts)
    path = tmp_path_factory.mktemp("fasta") / "some.fasta"
    path.write_bytes(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_BLOCK_BYTES", block)
        patch.setattr(Limits, "line_bytes", property(lambda limits: 2 * limits.residues + 5))
        found = list(read_fasta(path, Limits(residues=residues)))
    numbers = [entry.number for entry in found]
    assert numbers == list(range(1, len(found) + 1))
    expected = _reference(text)
    with_header = found[len(found) - len(expected) :]
    assert [entry.line for entry in with_header] == [line for line, *_ in expected]
    for entry, (_, header, sequence, size) in zip(with_header, expected, strict=True):
        if entry.error is None:
            assert entry.sequence.encode() == sequence
            assert entry.id.encode() == (header.split() or [b""])[0]
        else:
            assert len(sequence.replace(b" ", b"")) > residues or size >= 2 * residues + 5


@given(st.text())
def test_a_cleaned_id_can_be_stored_anywhere(text):
    id, notes = clean_id(text)
    assert len(id) <= 1000
    assert "\x00" not in id
    assert id.encode().decode() == id
    assert bool(notes) == (id != text.strip() or "\ufffd" in text)
