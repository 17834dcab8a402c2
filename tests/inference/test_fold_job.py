"""Folding many targets: every one ends somewhere, whatever stands beside it, and a kill changes no byte."""

import csv
import gzip
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from biotite.structure.io.pdb import PDBFile
from tests.forked import run_python
from tests.inference import killed_fold
from tests.inference.tiny_fold import ALIGNMENT, CONFIG, UBIQUITIN, save_models, tiny_model

from chaperonin.data.alignment_features import Prepared
from chaperonin.data.sources import Rejected
from chaperonin.errors import InputError, UsageError
from chaperonin.inference.fold import fold, fold_once, prepare_target, recycle
from chaperonin.inference.fold_input import Target, items, read_target
from chaperonin.inference.fold_job import fold_job
from chaperonin.inference.fold_memory import FoldShape, needed_bytes
from chaperonin.inference.fold_models import FoldModel, load_models, random_network
from chaperonin.inference.fold_output import write_predictions
from chaperonin.inference.fold_settings import FoldSettings
from chaperonin.inference.fold_store import read_coverage
from chaperonin.inference.fold_table import read_results, read_times
from chaperonin.kernels.slices import slice_budget
from chaperonin.protein.alignment import read_a3m
from chaperonin.protein.coverage import coverage_of

SETTINGS = FoldSettings(recycles=1, device="cpu")
QUERY = "MKTAYIAKQR"
STOCKHOLM = f"# STOCKHOLM 1.0\nquery {QUERY}\nother MKTAYL--QR\n//\n"


@pytest.fixture(scope="module")
def models() -> list[FoldModel]:
    return [tiny_model(1), tiny_model(3)]


def failures(outdir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (outdir / "failures.jsonl").read_text().splitlines()]


def write_structure(folder: Path, name: str, sequence: str = QUERY) -> Path:
    """A made-up structure of a sequence, as a file that can be a template."""
    folder.mkdir(exist_ok=True)
    (prediction,) = fold([tiny_model(3)], sequence, settings=SETTINGS)
    path = write_predictions(folder, "made", [prediction])[0]
    for other in folder.glob("made_*"):
        if other != path:
            other.unlink()
    return path.rename(folder / f"{name}.pdb")


def mixed_folder(folder: Path) -> Path:
    """Good targets of every kind, and one of every kind of poison."""
    folder.mkdir()
    records = {
        "single": UBIQUITIN,
        "aligned": QUERY,
        "wrong": QUERY,
        "letters": "MK?",
        "all_x": "XX",
        "twin": QUERY,
    }
    (folder / "a.fasta").write_text("".join(f">{id}\n{letters}\n" for id, letters in records.items()))
    (folder / "aligned.a3m").write_text(ALIGNMENT)
    (folder / "wrong.a3m").write_text(">query\nMKTAYIAKQW\n")
    (folder / "b.fasta").write_text(f">single\n{QUERY}GG\n")
    (folder / "alone.a3m.gz").write_bytes(gzip.compress(ALIGNMENT.encode()))
    (folder / "both.sto").write_text(STOCKHOLM)
    (folder / "both.a3m").write_text(ALIGNMENT)
    (folder / "unequal.a3m").write_text(">query\nMKTAYIAKQR\n>b\nMKT\n")
    (folder / "nul.a3m").write_bytes(b">query\nMKTAY\0IAKQR\n")
    (folder / "empty.a3m").write_bytes(b"")
    (folder / "empty.fasta").write_bytes(b"")
    (folder / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    (folder / "cut.a3m.gz").write_bytes(gzip.compress(ALIGNMENT.encode())[:-20])
    (folder / "signs.sto").write_text("# STOCKHOLM 1.0\nquery MKTA\xa7\n//\n")
    (folder / "letters.a3m").write_text(ALIGNMENT)  # of a record that fails
    (folder / "endless.sto").write_text("# STOCKHOLM 1.0\nquery MKTAY\n")
    (folder / "notes.txt").write_text("nothing")
    (folder / "structure.pdb").write_text("ATOM")
    (folder / "folder").mkdir()
    alignment = read_a3m(ALIGNMENT)
    published = np.array(["ACDEFGHIKLMNPQRSTVWYX-".index(letter) for letter in "ARNDCQEGHILKMFPSTWYVX-"])
    np.savez(
        folder / "features.npz",
        aatype=alignment.residues[0].astype(np.int64),
        msa=published[alignment.residues],
        deletion_matrix_int=alignment.deletions,
        residue_index=np.arange(10) + 4,
    )
    return folder


def test_every_item_of_a_mixed_folder_ends_in_one_place(models: list[FoldModel], tmp_path: Path) -> None:
    source, outdir = mixed_folder(tmp_path / "in"), tmp_path / "out"
    outcome = fold_job(models, source, outdir, SETTINGS)
    rows = read_results(outdir)
    assert outcome.exit_code == 3 and outcome.done == len(rows)
    assert {row.id for row in rows} == {
        "single", "single_2", "aligned", "twin", "alone", "both", "features",
    }  # fmt: skip
    failed = {str(failure["id"]): str(failure["error"]) for failure in failures(outdir)}
    assert failed.keys() == {
        "wrong", "letters", "all_x", "unequal", "nul", "empty", "empty.fasta", "broken", "cut", "endless", "signs",
        "notes.txt", "structure.pdb", "folder",
    }  # fmt: skip
    assert "residue 10 of the query is W" in failed["wrong"]
    assert "NUL" in failed["nul"] and "columns" in failed["unequal"] and "no end" in failed["endless"]
    assert all(failure["where"] and failure["advice"] is not None for failure in failures(outdir))
    numbers = [failure["record"] for failure in failures(outdir)]
    assert len(set(numbers)) == len(numbers) == outcome.failed
    sequences = {row.id: row.sequences for row in rows}
    assert sequences["aligned"] == sequences["alone"] == 6 and sequences["both"] == 7
    assert sequences["twin"] == 1 and sequences["features"] == 6


def test_files_are_what_folding_by_hand_writes(models: list[FoldModel], tmp_path: Path) -> None:
    (tmp_path / "P1.a3m").write_text(ALIGNMENT)
    fold_job(models, tmp_path / "P1.a3m", tmp_path / "out", SETTINGS)
    (tmp_path / "hand").mkdir()
    software = {"chaperonin": version("chaperonin")}
    expected = write_predictions(
        tmp_path / "hand", "P1", fold(models, read_a3m(ALIGNMENT), settings=SETTINGS), software=software
    )
    for path in expected:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    (row,) = read_results(tmp_path / "out")
    atoms = PDBFile.read(tmp_path / "out" / row.structure).get_structure(model=1, extra_fields=["b_factor"])
    trace = atoms[atoms.atom_name == "CA"]
    assert len(trace) == row.length == 10
    assert trace.b_factor.mean() == pytest.approx(row.mean_plddt, abs=0.01)
    assert {(time.model, time.iterations) for time in read_times(tmp_path / "out")} == {
        ("model_1", 2),
        ("model_3", 2),
    }


def test_what_an_alignment_covers_is_left_beside_the_structures(
    models: list[FoldModel], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/deep.a3m").write_text(ALIGNMENT)
    (tmp_path / "in/alone.fasta").write_text(f">alone\n{QUERY}\n")
    fold_job(models, tmp_path / "in", tmp_path / "out", SETTINGS)
    (path,) = (tmp_path / "out").glob("*_coverage.npz")
    found, expected = read_coverage(path), coverage_of(read_a3m(ALIGNMENT))
    assert path.name == "deep_coverage.npz" and found.sequences == 6
    np.testing.assert_array_equal(found.covered, expected.covered)
    np.testing.assert_array_equal(found.depth, expected.depth)
    path.with_suffix(".png").write_bytes(b"a picture")
    (tmp_path / "in/deep.a3m").unlink()
    fold_job(models, tmp_path / "in", tmp_path / "out", SETTINGS, overwrite=True)
    assert not list((tmp_path / "out").glob("deep_*"))  # of the job before


def test_an_alignment_beside_a_fasta_file_belongs_to_the_record_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(f">P1\n{QUERY}\n>P2\n{QUERY}\n")
    (tmp_path / "P2.a3m").write_text(ALIGNMENT)
    (tmp_path / "P3.a3m").write_text(ALIGNMENT)
    first, second = (item for item in items(tmp_path / "in.fasta", SETTINGS) if isinstance(item, Target))
    assert (first.alignments, second.alignments) == ((), (tmp_path / "P2.a3m",))
    assert len(read_target(second, SETTINGS).prepared.alignment) == 6
    assert [item.id for item in items(tmp_path, SETTINGS)] == ["P3", "P1", "P2"]


def test_equal_sequences_are_folded_once(
    models: list[FoldModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.fasta").write_text(f">P1\n{QUERY}\n>P2\n{QUERY}\n")
    calls = []
    monkeypatch.setattr(
        "chaperonin.inference.fold_job.fold_once", lambda *given: (calls.append(1), fold_once(*given))[1]
    )
    assert fold_job(models, tmp_path / "in.fasta", tmp_path / "out", SETTINGS).done == 2
    assert len(calls) == 2
    first, second = read_results(tmp_path / "out")
    structures = [(tmp_path / "out" / row.structure).read_bytes() for row in (first, second)]
    assert structures[0] == structures[1]


def test_templates_go_by_name_or_to_all(tmp_path: Path) -> None:
    (tmp_path / "in.fasta").write_text(f">P1\n{QUERY}\n>P2\n{QUERY}\n")
    own = write_structure(tmp_path / "templates", "P1.1abc")
    for_all = write_structure(tmp_path / "other", "any")

    def templates(*given: Path) -> list[int]:
        settings = FoldSettings(templates=tuple(str(path) for path in given), device="cpu")
        found = []
        for item in items(tmp_path / "in.fasta", settings):
            assert isinstance(item, Target)
            read = read_target(item, settings).prepared.templates
            found.append(0 if read is None else len(read.aatype))
        return found

    assert templates(own.parent) == [1, 0]
    assert templates(for_all) == [1, 1]
    assert templates(own.parent, for_all) == [2, 1]
    with pytest.raises(UsageError, match="none of the 1 structures belongs to a target"):
        templates(for_all.parent)
    with pytest.raises(UsageError, match="no such file or folder"):
        templates(tmp_path / "absent")


def test_a_broken_template_fails_its_target_and_is_a_note_where_it_is_for_all(
    models: list[FoldModel], tmp_path: Path
) -> None:
    (tmp_path / "in.fasta").write_text(f">P1\n{QUERY}\n>P2\n{QUERY}\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/P1.pdb").write_text("no structure")
    for place, done in (("templates", 1), ("templates/P1.pdb", 2)):
        outdir = tmp_path / f"out{done}"
        settings = FoldSettings(templates=(str(tmp_path / place),), recycles=0, device="cpu")
        assert fold_job(models, tmp_path / "in.fasta", outdir, settings).done == done
    assert [failure["id"] for failure in failures(tmp_path / "out1")] == ["P1"]
    assert all("template not used" in row.notes for row in read_results(tmp_path / "out2"))


def test_memory_that_runs_out_fails_that_target_alone(
    models: list[FoldModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After smaller slices were tried; the other models do not try that target again."""
    (tmp_path / "in.fasta").write_text(f">large\n{UBIQUITIN}\n>small\n{QUERY}\n")
    tried: list[tuple[int, int]] = []

    def limited(model: FoldModel, prepared: Prepared, *rest: object) -> object:
        tried.append((len(prepared.aatype), slice_budget()))
        if tried[-1][0] > 50:
            raise torch.OutOfMemoryError("no memory")
        return recycle(model, prepared, *rest)

    monkeypatch.setattr("chaperonin.inference.fold.recycle", limited)
    outcome = fold_job(models, tmp_path / "in.fasta", tmp_path / "out", SETTINGS)
    assert (outcome.done, outcome.failed) == (1, 1)
    usual = slice_budget()
    assert tried == [(76, usual), (76, usual >> 3), (76, usual >> 6), (10, usual), (10, usual)]
    (failure,) = failures(tmp_path / "out")
    assert failure["id"] == "large" and "76 residues need more memory" in str(failure["error"])


def test_what_does_not_fit_in_large_slices_is_folded_in_small_ones(
    models: list[FoldModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_target(UBIQUITIN)
    expected = fold_once(models[0], prepared, 0, SETTINGS).prediction.structure.positions

    def limited(*arguments: object) -> object:
        if slice_budget() > 1 << 20:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
        return recycle(*arguments)

    monkeypatch.setattr("chaperonin.inference.fold.recycle", limited)
    found = fold_once(models[0], prepared, 0, SETTINGS).prediction.structure.positions
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_target_that_cannot_fit_fails_before_it_is_tried(
    models: list[FoldModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.fasta").write_text(f">large\n{UBIQUITIN}\n>small\n{QUERY}\n")
    free = needed_bytes(CONFIG, FoldShape(20, 1, 0), "cpu")
    monkeypatch.setattr("chaperonin.inference.fold_forecast.free_bytes", lambda device: free)
    fold_job(models, tmp_path / "in.fasta", tmp_path / "planned", SETTINGS)
    (failure,) = failures(tmp_path / "planned")
    assert failure["id"] == "large" and "76 residues need at least" in str(failure["error"])


def test_an_overflow_fails_that_target_alone(tmp_path: Path) -> None:
    network = random_network(CONFIG)
    network.structure.update.weight.data.fill_(1e30)
    (tmp_path / "in.fasta").write_text(f">P1\n{QUERY}\n")
    model = FoldModel("model_1", CONFIG, lambda: network, lambda: "digest")
    assert fold_job([model], tmp_path / "in.fasta", tmp_path / "out", SETTINGS).exit_code == 1
    assert "finite" in str(failures(tmp_path / "out")) or "coordinates" in str(failures(tmp_path / "out"))


def test_a_killed_job_goes_on_and_every_byte_is_the_same(tmp_path: Path) -> None:
    folders = save_models(tmp_path, 1, 3)
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.fasta").write_text(f">P1\n{QUERY}\n>P2\n{QUERY}GG\n>bad\nMK*A\n")
    (source / "P2.a3m").write_text(">P2\nMKTAYIAKQRGG\n>b\nMKTAYI--QRGG\n")
    run = run_python(killed_fold.__file__, ",".join(folders), source, tmp_path)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["different"] == [] and found["kills"] > 3 and 1 < found["with_results"] < found["kills"]
    assert "summary.csv" in found["files"] and sum(name.endswith(".pdb") for name in found["files"]) == 4


def test_files_of_a_target_are_there_before_the_next_one_is_done(
    models: list[FoldModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.fasta").write_text(f">P1\n{UBIQUITIN}\n>P2\n{QUERY}\n")

    def interrupted(model: FoldModel, prepared: object, *rest: object) -> object:
        if len(prepared.aatype) == 10:
            raise KeyboardInterrupt
        return fold_once(model, prepared, *rest)

    monkeypatch.setattr("chaperonin.inference.fold_job.fold_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fold_job(models, tmp_path / "in.fasta", tmp_path / "out", SETTINGS)
    assert len(list((tmp_path / "out").glob("P1_unrelaxed_rank_*.pdb"))) == 2
    monkeypatch.undo()
    # What the interrupted job wrote goes with it.
    (tmp_path / "in.fasta").write_text(f">P2\n{QUERY}\n")
    with pytest.raises(UsageError, match="other settings"):
        fold_job(models, tmp_path / "in.fasta", tmp_path / "out", SETTINGS)
    (tmp_path / "out/P1_mine.pdb").write_text("kept")
    assert fold_job(models, tmp_path / "in.fasta", tmp_path / "out", SETTINGS, overwrite=True).done == 1
    assert [path.name for path in (tmp_path / "out").glob("P1_*")] == ["P1_mine.pdb"]


def test_a_finished_job_is_not_done_again(models: list[FoldModel], tmp_path: Path) -> None:
    (tmp_path / "P1.a3m").write_text(ALIGNMENT)
    first = fold_job(models, tmp_path / "P1.a3m", tmp_path / "out", SETTINGS)
    times = (tmp_path / "out/times.csv").stat().st_mtime_ns
    assert fold_job(models, tmp_path / "P1.a3m", tmp_path / "out", SETTINGS) == first
    assert (tmp_path / "out/times.csv").stat().st_mtime_ns == times
    with pytest.raises(UsageError, match="other settings"):
        fold_job(models[:1], tmp_path / "P1.a3m", tmp_path / "out", SETTINGS)


def test_ids_that_are_no_file_names_keep_their_place_in_the_tables(
    models: list[FoldModel], tmp_path: Path
) -> None:
    (tmp_path / "in.fasta").write_text(f">sp|P1/../é\n{QUERY}\n>=1+1\n{QUERY}\n")
    assert fold_job(models, tmp_path / "in.fasta", tmp_path / "out", SETTINGS).done == 2
    with (tmp_path / "out/summary.csv").open(newline="") as opened:
        assert [row["id"] for row in csv.DictReader(opened)] == ["sp|P1/../é", "'=1+1"]
    assert all((tmp_path / "out" / row.structure).is_file() for row in read_results(tmp_path / "out"))


def test_random_weights_are_named_in_every_file(tmp_path: Path) -> None:
    (folder,) = save_models(tmp_path, 1)
    models = load_models([folder], random_weights=True, device="cpu")
    (tmp_path / "P1.a3m").write_text(ALIGNMENT)
    fold_job(models, tmp_path / "P1.a3m", tmp_path / "out", SETTINGS)
    written = sorted(path for path in (tmp_path / "out").glob("P1_*") if path.suffix != ".npz")
    assert len(written) == 5
    for path in written:
        assert "mean nothing" in " ".join(path.read_text().split()), path.name
    (row,) = read_results(tmp_path / "out")
    assert len(PDBFile.read(tmp_path / "out" / row.structure).get_structure(model=1)) > 50


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="nothing to fold"):
        items(tmp_path / "in", SETTINGS)
    with pytest.raises(InputError, match="not there"):
        items(tmp_path / "absent.a3m", SETTINGS)
    (tmp_path / "in/odd.txt").write_text("x")
    (item,) = items(tmp_path / "in", SETTINGS)
    assert isinstance(item, Rejected) and "suffix '.txt'" in item.error.what
