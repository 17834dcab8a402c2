"""Tables of variants as they are found: what each row means, and what is wrong with it."""

import csv
import gzip
from pathlib import Path

import pytest

from chaperonin.errors import ChaperoninError, InputError, UsageError
from chaperonin.inference.score_input import Unreadable, VariantFile, VariantRow, variant_files
from chaperonin.inference.score_wild_types import WildTypes

WILD = "MSTNPKPQRKTKRNTNRRPQDVKFPGG"


def table(tmp_path: Path, text: str, name: str = "assay.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def rows(path: Path, **options: object) -> list[VariantRow]:
    first = options.pop("first", 1)
    return list(WildTypes(**options).open(path, first).rows())  # type: ignore[arg-type]


def test_rows_are_read_by_notation_by_sequence_or_by_both(tmp_path: Path) -> None:
    mutated = "A" + WILD[1:]
    path = table(
        tmp_path, f"id,mutant,mutated_sequence\na,M1A,\nb,,{mutated}\nc,M1A,{mutated}\nd,wt,\ne,m1a:s2p,\n"
    )
    found = rows(path, target=WILD)
    assert [row.id for row in found] == ["a", "b", "c", "d", "e"]
    assert [":".join(map(str, row.variant)) or "wt" for row in found] == [
        "M1A",
        "M1A",
        "M1A",
        "wt",
        "M1A:S2P",
    ]
    assert found[4].mutated == "AP" + WILD[2:]
    assert all(row.error is None and row.wild_type == WILD and not row.is_indel for row in found)


def test_each_bad_row_is_its_own_failure_and_says_where_it_stands(tmp_path: Path) -> None:
    lines = [
        "mutant,mutated_sequence",
        "A1P,",
        ",",
        "M99A,",
        "M1A:M1C,",
        "nan,nan",
        "M1A,MST",
        "M1A,MST*T",
        "M1A,",
    ]
    found = rows(table(tmp_path, "\n".join(lines)), target=WILD)
    messages = [str(row.error) if row.error else "" for row in found]
    assert [bool(message) for message in messages] == [True] * 7 + [False]
    for number, expected in enumerate(
        ["the wild type has M", "is empty", "outside", "changed twice", "is empty", "disagree", "stop"],
        start=2,
    ):
        assert messages[number - 2].startswith(f"assay.csv:{number}: ")
        assert expected in messages[number - 2]


def test_the_sequence_decides_over_positions_only_where_both_agree(tmp_path: Path) -> None:
    (row,) = rows(table(tmp_path, f"mutant,mutated_sequence\nS2A,{'A' + WILD[1:]}\n"), target=WILD)
    assert "at position 1 the notation gives M, the sequence A" in str(row.error)


def test_other_lengths_are_insertions_and_deletions(tmp_path: Path) -> None:
    path = table(tmp_path, f"mutated_sequence\n{WILD[1:]}\n{WILD}A\n{WILD}\n")
    found = rows(path, target=WILD)
    assert [row.is_indel for row in found] == [True, True, False]


def test_a_notation_column_that_repeats_the_sequence_is_a_sequence(tmp_path: Path) -> None:
    path = table(tmp_path, f"mutant,mutated_sequence\n{WILD[1:]},{WILD[1:]}\n{WILD},\n")
    assert [row.mutated for row in rows(path, target=WILD)] == [WILD[1:], WILD]


def test_wild_type_is_found_in_target_reference_column_or_rows(tmp_path: Path) -> None:
    mutated = "A" + WILD[1:]
    fasta = table(tmp_path, f">sp|P1|LYS one\n{WILD}\n", "target.fasta")
    plain = table(tmp_path, "mutant\nM1A\n")
    column = table(tmp_path, f"mutant,target_seq\nM1A,{WILD.lower()}\n", "column.csv")
    both = table(tmp_path, f"mutant,mutated_sequence\nM1A,{mutated}\n", "both.csv")
    for path, options in [
        (plain, {"target": WILD}),
        (plain, {"target": str(fasta)}),
        (plain, {"reference": {"assay": WILD}}),
        (column, {}),
        (both, {}),
    ]:
        (row,) = rows(path, **options)
        assert (row.wild_type, row.mutated) == (WILD, mutated)


def test_the_record_of_a_target_file_is_chosen_by_row_id_or_file_name(tmp_path: Path) -> None:
    targets = table(tmp_path, f">sp|P1|LYS\n{WILD}\n>other\nAAAA\n", "targets.fasta")
    path = table(tmp_path, "id,mutant\nP1,M1A\nother,A1C\nnobody,A1C\n")
    found = rows(path, target=str(targets))
    assert [row.wild_type for row in found] == [WILD, "AAAA", ""]
    assert "no target has the id" in str(found[2].error)
    by_name = table(tmp_path, "mutant\nA1C\n", "other.csv")
    assert rows(by_name, target=str(targets))[0].wild_type == "AAAA"


def test_rows_that_lead_back_to_different_proteins_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path, f"mutant,mutated_sequence\nM1A,{'A' + WILD[1:]}\nS2P,MPAAAA\n")
    with pytest.raises(InputError, match="lines 2 and 3 lead back to different proteins"):
        rows(path)


def test_a_row_that_contradicts_itself_does_not_spoil_the_reconstruction(tmp_path: Path) -> None:
    path = table(tmp_path, f"mutant,mutated_sequence\nS2P,{WILD}\nM1A,{'A' + WILD[1:]}\n")
    found = rows(path)
    assert found[0].error is not None and found[1].wild_type == WILD


@pytest.mark.parametrize("text", ["mutant\nM1A\n", "mutated_sequence\nMST\n"])
def test_an_unknown_wild_type_is_refused_with_the_ways_to_name_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"assay.csv: the wild type is not known. .*--target .*--reference"):
        rows(table(tmp_path, text))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.fasta", r"there is no file 'nowhere\.fasta'\. Check the path"),
        ("data/targets", "there is no file 'data/targets'"),
        ("MKTJ", "neither a file nor a sequence: the letter J"),
        ("MK-T", "neither a file nor a sequence: a gap"),
    ],
)
def test_a_target_that_is_no_file_and_no_sequence_is_refused(
    tmp_path: Path, target: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        rows(table(tmp_path, "mutant\nM1A\n"), target=target)


def test_a_target_is_cleaned_as_every_sequence_and_said_to_be_read_as_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        (row,) = rows(table(tmp_path, "mutant\nM1A\n"), target=f" {WILD.lower()}*")
    assert row.wild_type == WILD
    assert f"--target names no file: read as a sequence of {len(WILD)} residues" in caplog.text


def test_a_part_of_an_id_that_two_targets_share_names_none_of_them(tmp_path: Path) -> None:
    targets = table(tmp_path, f">sp|P1|ONE\n{WILD}\n>sp|P1|TWO\nAAAA\n", "targets.fasta")
    found = rows(table(tmp_path, "id,mutant\nP1,M1A\nTWO,A1C\n"), target=str(targets))
    assert "no target has the id" in str(found[0].error) and found[1].wild_type == "AAAA"


def test_the_reference_is_cleaned_as_every_sequence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path, "mutant\nM1A\n")
    with caplog.at_level("INFO"):
        (row,) = rows(path, reference={"assay": f" {WILD.lower()}*\n"})
    assert row.wild_type == WILD
    assert "target_seq of assay: trailing * removed" in caplog.text
    with pytest.raises(InputError, match=r"reference, target_seq of assay: a stop \(\*\) inside"):
        rows(path, reference={"assay": "MS*T"})


def test_the_letter_j_is_x_everywhere_where_that_is_asked_for(tmp_path: Path) -> None:
    targets = table(tmp_path, ">one\nMJST\n>two\nAJ\n", "targets.fasta")
    text = "id,mutant,mutated_sequence\none,J2A,\none,M1J,\none,,MJSTJ\none,M1A,AJST\n"
    path = table(tmp_path, text)
    found = rows(path, target=str(targets), unknown="X")
    assert [row.mutated for row in found] == ["MAST", "XXST", "MXSTX", "AXST"]
    column = table(tmp_path, "mutant,target_seq\nJ2A,MJST\n", "column.csv")
    for options in ({"target": "MJST"}, {"reference": {"column": "MJST"}}, {}):
        (row,) = rows(column, unknown="X", **options)
        assert (row.wild_type, row.mutated) == ("MXST", "MAST")
    (row,) = rows(column)
    assert "the letter J" in str(row.error) and "unknown=X" in str(row.error)


def test_numbering_may_begin_elsewhere(tmp_path: Path) -> None:
    (row,) = rows(table(tmp_path, "mutant\nM24A\n"), target=WILD, first=24)
    assert row.mutated == "A" + WILD[1:]


def test_tables_and_proteins_are_told_apart_and_not_mixed(tmp_path: Path) -> None:
    variants = table(tmp_path, "mutant\nM1A\n", "a.csv")
    assert variant_files(variants) == variant_files(tmp_path) == [variants]
    proteins = table(tmp_path, "id,sequence\np,MST\n", "b.csv")
    assert variant_files(proteins) == []
    with pytest.raises(UsageError, match=r"tables of variants \(a.csv\) and proteins to scan \(b.csv\)"):
        variant_files(tmp_path)


def test_every_file_of_a_folder_of_tables_is_a_table_or_says_why_it_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "assays"
    folder.mkdir()
    good = table(folder, "mutant\nM1A\n", "a.csv")
    table(folder, "notes", "README.txt")
    table(folder, "a,b\n1,2\n", "other.csv")
    table(folder, "", "empty.csv")
    table(folder, "mutant\n", "header.csv")
    table(folder, "Mutant\nM1A\n", "misspelt.tsv")
    table(folder, "hidden", ".DS_Store")
    (folder / "more.csv").mkdir()
    found = WildTypes(WILD).tables(folder, variant_files(folder))
    assert [one.path for one in found if isinstance(one, VariantFile)] == [good]
    errors = {one.name: one.error.what for one in found if isinstance(one, Unreadable)}
    assert errors == {
        "README.txt": "the suffix '.txt' says nothing about the format",
        "other.csv": "has no column mutant and no column mutated_sequence",
        "empty.csv": "the file is empty",
        "header": "there are no records in the file",
        "misspelt.tsv": "the column 'Mutant' must be written 'mutant'",
        "more.csv": "this is no file",
    }
    with pytest.raises(UsageError, match="must be written 'mutant'"):
        variant_files(folder / "misspelt.tsv")


def test_tables_that_differ_in_their_suffix_only_keep_it_in_their_name(tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv", "b.csv"):
        table(tmp_path, "mutant\nM1A\n", name)
    found = WildTypes(reference={"a": WILD, "b": WILD}).tables(tmp_path, variant_files(tmp_path))
    assert [one.name for one in found] == ["a.csv", "a.tsv", "b"]


def test_proteingym_tables_are_read_as_they_are(real_data: Path) -> None:
    with open(real_data / "dms/reference/DMS_substitutions.csv", encoding="utf-8-sig") as file:
        reference = {row["DMS_id"]: row["target_seq"] for row in csv.DictReader(file)}
    for name in ("BLAT_ECOLX_Jacquier_2013", "IF1_ECOLI_Kelsic_2016"):
        path = real_data / f"dms/substitutions_singles/{name}.csv.gz"
        with gzip.open(path, "rt") as file:
            expected = list(csv.DictReader(file))
        for options in ({}, {"reference": reference}):
            found = rows(path, **options)
            assert [row.error for row in found] == [None] * len(expected)
            assert {row.wild_type for row in found} == {reference[name]}
            assert [row.mutated for row in found] == [row["mutated_sequence"] for row in expected]


def test_proteingym_indels_are_read_as_they_are(real_data: Path) -> None:
    with open(real_data / "dms/reference/DMS_indels.csv", encoding="utf-8-sig") as file:
        reference = {row["DMS_id"]: row["target_seq"] for row in csv.DictReader(file)}
    path = real_data / "dms/indels/A4_HUMAN_Seuma_2022_indels.csv.gz"
    found = rows(path, reference=reference)
    assert len(found) == 2347
    assert [row for row in found if row.error] == []
    assert sum(row.is_indel for row in found) > 1500


def test_errors_are_the_users_to_mend() -> None:
    assert issubclass(InputError, ChaperoninError) and issubclass(UsageError, ChaperoninError)
