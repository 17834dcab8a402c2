"""Tables of variants as they are found: what each row means, and what is wrong with it."""

import csv
import gzip
from pathlib import Path

import pytest

from chaperonin.errors import ChaperoninError, InputError, UsageError
from chaperonin.inference.score_input import VariantRow, WildTypes, variant_files
from chaperonin.protein.variant import format_variant

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
    assert [format_variant(row.variant) for row in found] == ["M1A", "M1A", "M1A", "wt", "M1A:S2P"]
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


def test_a_target_that_is_no_file_and_no_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'nowhere\.fasta' is neither a file nor a sequence"):
        rows(table(tmp_path, "mutant\nM1A\n"), target="nowhere.fasta")


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
