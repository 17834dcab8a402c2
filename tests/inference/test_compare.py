"""Predicted structures against references: who is compared with whom, and that every pair ends in one place."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from tests.inference.test_fold_output import make_prediction
from tests.protein.trp_cage import model, write_structure

from chaperonin.data.sources import Rejected
from chaperonin.errors import InputError, UsageError
from chaperonin.inference.compare import compare_structures, plddt_of
from chaperonin.inference.compare_input import Pair, structure_pairs
from chaperonin.inference.compare_job import CompareSettings, compare_job, forecast_compare
from chaperonin.inference.compare_table import RESIDUES, STRUCTURES, read_structures
from chaperonin.inference.fold_output import file_name_of, write_predictions
from chaperonin.inference.fold_table import Row, write_summary
from chaperonin.protein.structure import Structure
from chaperonin.protein.structure_metrics import clash_score, compare, lddt_per_residue


def two_chains(first: Structure, second: Structure) -> Structure:
    pair = [replace(one, chain_ids=np.full(len(one), name)) for one, name in ((first, "A"), (second, "B"))]
    return Structure(
        *(np.concatenate([getattr(one, name) for one in pair]) for name in Structure.__annotations__)
    )


def settings(reference: Path, **given: str) -> CompareSettings:
    return CompareSettings(reference=str(reference), **given)


def chosen(source: Path, reference: Path) -> dict[str, tuple[str, str | None] | None]:
    return {
        pair.id: (pair.reference.name, pair.chain) if isinstance(pair, Pair) else None
        for pair in structure_pairs(source, reference)
    }


def test_the_files_say_what_the_functions_say(tmp_path: Path) -> None:
    for number in (2, 3):
        write_structure(tmp_path / f"in/P{number}.pdb", model(number))
        write_structure(tmp_path / f"ref/P{number}.pdb", model(1))
    assert compare_job(tmp_path / "in", tmp_path / "out", settings(tmp_path / "ref")).exit_code == 0
    rows = read_structures(tmp_path / "out" / STRUCTURES)
    residues = parquet.read_table(tmp_path / "out" / RESIDUES).to_pydict()
    assert [row.id for row in rows] == ["P2", "P3"] and residues["id"] == ["P2"] * 20 + ["P3"] * 20
    for row, number in zip(rows, (2, 3), strict=True):
        scores = compare(model(number), model(1))
        for name, value in scores._asdict().items():
            assert getattr(row, name) == pytest.approx(value, abs=6e-5), name
        assert row.clash_score == pytest.approx(clash_score(model(number)), abs=6e-5)
        assert row.mean_plddt == pytest.approx(80, abs=1e-2) and row.matched_by == "number"
    expected = lddt_per_residue(model(3), model(1), ca_only=True)
    np.testing.assert_allclose(residues["lddt_ca"][20:], expected, atol=1e-6)
    assert residues["number"][:3] == [1, 2, 3] and "".join(residues["residue"][:3]) == model(1).sequence[:3]
    summary = json.loads((tmp_path / "out/structures.json").read_text())
    assert summary["structures"] == 2 and summary["plddt"]["residues"] == 40
    assert summary["mean"]["lddt"] == pytest.approx(np.mean([row.lddt for row in rows]), abs=1e-4)


def test_every_structure_ends_as_a_row_or_a_failure(tmp_path: Path) -> None:
    source, reference = tmp_path / "in", tmp_path / "ref"
    for name in ("good", "lonely", "complex", "stranger", "broken"):
        write_structure(source / f"{name}.pdb", model(2))
        if name != "lonely":
            write_structure(reference / f"{name}.pdb", model(1))
    write_structure(source / "complex.pdb", two_chains(model(2), model(2)))
    other = replace(model(1), aatype=np.roll(model(1).aatype[::-1], 3))
    write_structure(reference / "stranger.pdb", other)
    (reference / "broken.pdb").write_text("no structure")
    (source / "notes.txt").write_text("left out")
    (source / "cut.pdb.gz").write_bytes(gzip.compress((source / "good.pdb").read_bytes())[:-30])
    write_structure(reference / "cut.pdb", model(1))
    (source / "empty.cif").write_bytes(b"")
    (reference / "empty.cif").write_bytes(b"")
    outcome = compare_job(source, tmp_path / "out", settings(reference))
    failures = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    said = {failure["id"]: failure["error"] for failure in failures}
    assert outcome.exit_code == 3 and (outcome.done, outcome.failed) == (1, 6)
    assert "no reference for 'lonely'" in said["lonely"] and "2 chains" in said["complex"]
    assert "another protein" in said["stranger"] and said.keys() >= {"broken", "cut", "empty"}
    assert all(failure["where"] and failure["advice"] for failure in failures)
    lenient = compare_job(source, tmp_path / "out2", settings(reference, residues="number"))
    assert lenient.done == 2  # the stranger too


def test_the_same_command_again_does_nothing_and_another_is_refused(tmp_path: Path) -> None:
    source = write_structure(tmp_path / "in/P1.pdb", model(2))
    reference = write_structure(tmp_path / "ref.pdb", model(1))
    compare_job(source, tmp_path / "out", settings(reference))
    before = (tmp_path / "out" / STRUCTURES).stat().st_mtime_ns
    assert compare_job(source, tmp_path / "out", settings(reference)).done == 1
    assert (tmp_path / "out" / STRUCTURES).stat().st_mtime_ns == before
    write_structure(reference, model(3))
    with pytest.raises(UsageError):
        compare_job(source, tmp_path / "out", settings(reference))
    assert compare_job(source, tmp_path / "out", settings(reference), overwrite=True).done == 1


def test_references_go_by_name_by_chain_or_to_all(tmp_path: Path) -> None:
    names = ("1abc_A", "1abc_B", "P1", "P2_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000", "P3")
    for name in names:
        write_structure(tmp_path / f"in/{name}.pdb", model(2))
    write_structure(tmp_path / "in/P1.cif", model(2))  # one structure in two files
    for name in ("1abc", "1abc_B", "P1", "P2"):
        write_structure(tmp_path / f"ref/{name}.pdb", model(1))
    assert chosen(tmp_path / "in", tmp_path / "ref") == {
        "1abc_A": ("1abc.pdb", "A"), "1abc_B": ("1abc_B.pdb", None), "P1": ("P1.pdb", None),
        names[3]: ("P2.pdb", None), "P3": None,
    }  # fmt: skip
    (pair,) = (one for one in structure_pairs(tmp_path / "in", tmp_path / "ref") if one.id == "P1")
    assert isinstance(pair, Pair) and pair.predicted.suffix == ".cif"
    assert set(chosen(tmp_path / "in", tmp_path / "ref/1abc.pdb").values()) == {
        ("1abc.pdb", "A"), ("1abc.pdb", "B"), ("1abc.pdb", None),
    }  # fmt: skip
    printed = forecast_compare(tmp_path / "in", settings(tmp_path / "ref"))
    assert (
        "4 structures with a reference, 1 that would fail" in printed
        and "1abc_A: 1abc.pdb, chain A" in printed
    )


def test_a_folder_that_fold_wrote_has_its_best_structures_compared(tmp_path: Path) -> None:
    predictions = [make_prediction("model_1", 40), make_prediction("model_2", 70)]
    (tmp_path / "out").mkdir()
    write_predictions(tmp_path / "out", "sp_P1", predictions)
    best = file_name_of("sp_P1", "unrelaxed", 1, predictions[1], "pdb")
    write_summary(tmp_path / "out", [Row("sp|P1|", "sp_P1", 7, 1, "m", 70, None, best, "")])
    write_structure(tmp_path / "ref/sp_P1.pdb", predictions[1].structure)
    (pair,) = structure_pairs(tmp_path / "out", tmp_path / "ref")
    assert isinstance(pair, Pair) and pair.id == "sp|P1|" and pair.predicted.name == best
    compare_job(tmp_path / "out", tmp_path / "compared", settings(tmp_path / "ref"))
    (row,) = read_structures(tmp_path / "compared" / STRUCTURES)
    assert row.tm_score == row.lddt == 1
    (tmp_path / "out" / best).unlink()
    outcome = compare_job(tmp_path / "out", tmp_path / "gone", settings(tmp_path / "ref"))
    assert (outcome.done, outcome.failed) == (0, 1)
    assert best in (tmp_path / "gone/failures.jsonl").read_text()


def test_the_chain_that_fits_best_is_taken(tmp_path: Path) -> None:
    other = replace(model(1), aatype=np.roll(model(1).aatype[::-1], 3))
    found = compare_structures(model(2), two_chains(other, model(1)))
    assert found.chain == "B" and found.scores == compare(model(2), model(1))
    named = compare_structures(model(2), two_chains(model(3), model(1)), chain="B")
    assert named.chain == "B" and named.scores == compare(model(2), model(1))
    with pytest.raises(InputError, match="no protein chain 'C'"):
        compare_structures(model(2), two_chains(other, model(1)), chain="C")


def test_residues_that_the_prediction_lacks_have_no_plddt_and_count_as_wrong() -> None:
    found = compare_structures(model(1).keep(np.arange(10)), model(1))
    assert found.scores.residues == 10 and found.scores.reference_residues == 20
    assert np.isnan(found.plddt).tolist() == [False] * 10 + [True] * 10
    assert found.scores.lddt < 0.6 and found.scores.rmsd < 1e-5


@pytest.mark.parametrize(("values", "expected"), [(80, 80), (0.8, 80), (0, None), (-1, None), (200, None)])
def test_b_factors_are_plddt_where_they_can_be(values: float, expected: float | None) -> None:
    found = plddt_of(replace(model(1), confidence=np.full(20, values, np.float32)))
    assert (found is None) if expected is None else found[0] == pytest.approx(expected)


def test_mistakes_are_said(tmp_path: Path) -> None:
    source = write_structure(tmp_path / "in/P1.pdb", model(2))
    (tmp_path / "empty").mkdir()
    for path, reference, said in (
        (source, tmp_path / "absent", "the reference is not there"),
        (source, tmp_path / "empty", "no structure in the folder of references"),
        (tmp_path / "empty", source, "no structure in the folder"),
        (tmp_path / "absent.pdb", source, "the input is not there"),
        (write_structure(tmp_path / "P1.txt", model(1)), source, "neither PDB nor mmCIF"),
    ):
        with pytest.raises((InputError, UsageError), match=said):
            structure_pairs(path, reference)
    with pytest.raises(UsageError, match="lies in the input folder"):
        compare_job(source.parent, source.parent / "out", settings(source))
    (rejected,) = structure_pairs(write_structure(tmp_path / "P9.pdb", model(1)), source.parent)
    assert isinstance(rejected, Rejected) and "There are: P1." in rejected.error.advice
