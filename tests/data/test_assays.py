"""Assays as ProteinGym and AIDO.Protein write them, and their folds."""

from pathlib import Path

import numpy as np
import pytest

from chaperonin.data.assays import Assay, FoldSettings, assay_files, read_assay
from chaperonin.errors import InputError
from chaperonin.protein.variant import parse_variant

WILD = "MKTAYIAKQRQISFVKSHFSRQ"


def rows(count: int = 22) -> list[tuple[str, str, float]]:
    """Mutant, sequence and value of single substitutions; where alanine stands it becomes glycine."""
    found = []
    for place, letter in enumerate(WILD[:count]):
        new = "G" if letter == "A" else "A"
        found.append((f"{letter}{place + 1}{new}", WILD[:place] + new + WILD[place + 1 :], place * 0.5 - 3))
    return found


def write(path: Path, header: str, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def proteingym(path: Path) -> Path:
    lines = [f"{mutant},{sequence},{value},{n % 5}" for n, (mutant, sequence, value) in enumerate(rows())]
    return write(path, "mutant,mutated_sequence,DMS_score,fold_random_5", lines)


def published(path: Path) -> Path:
    lines = [f"{sequence}\t{value}\t{n % 5}" for n, (_, sequence, value) in enumerate(rows())]
    return write(path, "sequences\tlabels\tfold_id", lines)


def read(path: Path, wild_type: str = "", folds: FoldSettings | None = None) -> Assay:
    return read_assay(path, path.stem, folds or FoldSettings(), wild_type)


def test_both_formats_give_the_same_assay(tmp_path: Path) -> None:
    one, other = read(proteingym(tmp_path / "A.csv")), read(published(tmp_path / "A.tsv"), WILD)
    assert one.sequences == other.sequences == [sequence for _, sequence, _ in rows()]
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.folds, np.arange(22) % 5)
    np.testing.assert_array_equal(one.folds, other.folds)
    assert one.variants == other.variants == [parse_variant(mutant) for mutant, _, _ in rows()]
    assert (one.folded_by, other.folded_by) == ("fold_random_5", "fold_id")
    assert read(tmp_path / "A.tsv").variants is None  # without the wild type nobody knows what was changed


def test_every_variant_is_tested_once_and_never_trained_on_then(tmp_path: Path) -> None:
    assay = read(proteingym(tmp_path / "A.csv"))
    tested = np.concatenate([assay.parts(fold).test for fold in range(assay.fold_count)])
    assert sorted(tested) == list(range(22))
    for fold in range(5):
        parts = assay.parts(fold)
        assert set(assay.folds[parts.test]) == {fold}
        assert set(assay.folds[parts.validation]) == {(fold + 1) % 5}
        together = np.concatenate([parts.training, parts.validation, parts.test])
        assert sorted(together) == list(range(22))


def test_folds_are_drawn_where_no_column_has_them(tmp_path: Path) -> None:
    path = write(tmp_path / "A.csv", "mutated_sequence,DMS_score", [f"{s},{v}" for _, s, v in rows()])
    first, again = read(path), read(path)
    np.testing.assert_array_equal(first.folds, again.folds)
    assert sorted(np.bincount(first.folds)) == [4, 4, 4, 5, 5] and first.folded_by == "drawn with seed 0"
    other = read(path, folds=FoldSettings(seed=1, count=4))
    assert other.fold_count == 4 and other.folded_by == "drawn with seed 1"


def test_several_substitutions_and_indels(tmp_path: Path) -> None:
    double = [f"M1A:K2R,AR{WILD[2:]},{value}" for value in range(20)]
    assay = read(write(tmp_path / "D.csv", "mutant,mutated_sequence,DMS_score", double))
    assert assay.variants == [parse_variant("M1A:K2R")] * 20 and not assay.has_indels
    assert assay.notes == ["19 rows repeat a sequence"]
    deleted = [f"{WILD[:place] + WILD[place + 1 :]},{place}" for place in range(22)]
    path = write(tmp_path / "I.csv", "mutated_sequence,DMS_score", deleted)
    assert read(path, WILD).has_indels and read(path, WILD).variants is None
    mixed = write(tmp_path / "M.csv", "mutated_sequence,DMS_score", [*deleted, f"{WILD},1"])
    assert read(mixed).has_indels


def test_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = [f"{sequence},{value}" for _, sequence, value in rows()]
    path = write(tmp_path / "A.csv", "mutated_sequence,DMS_score", ["MK-A,1", f"{WILD},nan", *lines])
    assay = read(path)
    assert len(assay.values) == 22
    assert assay.notes[0].startswith("2 rows left out, the first A.csv:2: ")


def test_what_is_wrong_with_an_assay_is_said(tmp_path: Path) -> None:
    lines = [f"{sequence},{value}" for _, sequence, value in rows()]
    for header, chosen, said in (
        ("mutated_sequence,score", lines, "no column of measured values"),
        ("text,DMS_score", lines, "no column of mutated sequences"),
        ("mutated_sequence,DMS_score", lines[:12], "12 variants with a value in 5 folds are too few"),
        ("mutated_sequence,DMS_score", [], "0 variants"),
        ("mutated_sequence,DMS_score", [f"{s},1" for _, s, _ in rows()], "the values are all the same"),
    ):
        with pytest.raises(InputError, match=said):
            read(write(tmp_path / "A.csv", header, chosen))
    with pytest.raises(InputError, match="no column fold_modulo_5"):
        read(proteingym(tmp_path / "B.csv"), folds=FoldSettings("fold_modulo_5"))


def test_a_folder_is_read_with_its_subfolders(tmp_path: Path) -> None:
    for name in ("singles/A.tsv", "multiples/A.tsv", "indels/B.tsv.gz", ".hidden/C.tsv", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = assay_files(tmp_path)
    assert {id: str(path.relative_to(tmp_path)) for id, path in found.items()} == {
        "B": "indels/B.tsv.gz",
        "multiples-A.tsv": "multiples/A.tsv",
        "singles-A.tsv": "singles/A.tsv",
    }
    with pytest.raises(InputError, match="no table of variants"):
        assay_files(tmp_path / "README.md")
    with pytest.raises(InputError, match="not there"):
        assay_files(tmp_path / "absent")
