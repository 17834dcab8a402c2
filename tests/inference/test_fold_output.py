import json
from dataclasses import replace

import gemmi
import numpy as np
import pytest

from chaperonin.errors import InputError
from chaperonin.inference.fold_output import Prediction, rank_predictions, write_predictions
from chaperonin.protein.atoms import ATOM37_MASK, RESIDUES
from chaperonin.protein.structure import Structure, read_structure

WARNING = (
    "random weights: these coordinates mean nothing, and this sentence is longer than one line of a PDB file"
)


def make_prediction(model: str, confidence: float, *, has_error: bool = True, length: int = 7) -> Prediction:
    generator = np.random.default_rng(length)
    aatype = generator.integers(0, 20, length)
    mask = ATOM37_MASK[aatype].astype(bool)
    structure = Structure(
        aatype,
        np.arange(1, length + 1),
        np.where(mask[..., None], generator.normal(0, 30, (length, 37, 3)), 0).astype(np.float32),
        mask,
        (confidence + generator.uniform(-5, 5, length)).astype(np.float32),
        np.full(length, "A"),
    )
    error = generator.uniform(0.2, 31, (length, length)).astype(np.float32) if has_error else None
    return Prediction(structure, model, 0, aligned_error=error, ptm=0.43219 if has_error else None)


def test_names_are_those_of_colabfold(tmp_path):
    predictions = [make_prediction("model_1", 40), make_prediction("model_3", 80)]
    paths = write_predictions(tmp_path, "P12345", predictions)
    stems = ["rank_001_alphafold2_ptm_model_3_seed_000", "rank_002_alphafold2_ptm_model_1_seed_000"]
    expected = [f"P12345_unrelaxed_{stem}.{suffix}" for stem in stems for suffix in ("pdb", "cif")]
    expected += [f"P12345_scores_{stem}.json" for stem in stems]
    expected += ["P12345_predicted_aligned_error_v1.json", "P12345_summary_confidences.json"]
    assert sorted(path.name for path in paths) == sorted(expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)


def test_a_relaxed_structure_stands_beside_the_other(tmp_path):
    prediction = make_prediction("model_1", 40)
    prediction = replace(prediction, relaxed=prediction.structure, seed=12, tag="alphafold2")
    names = {path.name for path in write_predictions(tmp_path, "a", [prediction])}
    assert "a_relaxed_rank_001_alphafold2_model_1_seed_012.pdb" in names
    assert "a_unrelaxed_rank_001_alphafold2_model_1_seed_012.cif" in names


def test_scores_have_colabfolds_fields(tmp_path):
    prediction = make_prediction("model_1", 60)
    write_predictions(tmp_path, "a", [prediction])
    scores = json.loads((tmp_path / "a_scores_rank_001_alphafold2_ptm_model_1_seed_000.json").read_text())
    assert list(scores) == ["plddt", "max_pae", "pae", "ptm"]
    np.testing.assert_allclose(scores["plddt"], prediction.structure.confidence, atol=0.0051)
    np.testing.assert_allclose(scores["pae"], prediction.aligned_error, atol=0.0051)
    assert scores["max_pae"] == np.max(scores["pae"])
    assert scores["ptm"] == 0.43
    table = json.loads((tmp_path / "a_predicted_aligned_error_v1.json").read_text())
    assert table == {
        "predicted_aligned_error": scores["pae"],
        "max_predicted_aligned_error": scores["max_pae"],
    }


def test_the_summary_has_alphafold_3s_fields(tmp_path):
    write_predictions(tmp_path, "a", [make_prediction("model_1", 60), make_prediction("model_2", 70)])
    summary = json.loads((tmp_path / "a_summary_confidences.json").read_text())
    best = json.loads((tmp_path / "a_scores_rank_001_alphafold2_ptm_model_2_seed_000.json").read_text())
    assert summary["ptm"] == 0.43 and summary["iptm"] is None and summary["has_clash"] is None
    assert summary["chain_ids"] == ["A"] and summary["chain_pair_pae_min"] == [[np.min(best["pae"])]]
    assert summary["ranking_score"] == pytest.approx(np.mean(best["plddt"]) / 100, abs=1e-4)


def test_a_model_without_aligned_errors_writes_none(tmp_path):
    paths = write_predictions(tmp_path, "a", [make_prediction("model_1", 60, has_error=False)])
    assert not [path for path in paths if "aligned_error" in path.name]
    scores = json.loads((tmp_path / "a_scores_rank_001_alphafold2_ptm_model_1_seed_000.json").read_text())
    assert list(scores) == ["plddt"]
    assert json.loads((tmp_path / "a_summary_confidences.json").read_text())["ptm"] is None


def test_both_files_hold_the_same_structure(tmp_path):
    prediction = make_prediction("model_1", 60)
    path, cif, *_ = write_predictions(tmp_path, "a", [prediction], software={"chaperonin": "1.0"})
    keep = prediction.structure.aatype != RESIDUES.index("R")  # its NH1 and NH2 lie at random here
    for read in (read_structure(path), read_structure(cif)):
        assert read.sequence == prediction.structure.sequence
        np.testing.assert_allclose(read.positions[keep], prediction.structure.positions[keep], atol=1e-3)
        np.testing.assert_allclose(read.confidence, prediction.structure.confidence, atol=0.0051)


def test_equals_keep_their_order_and_the_best_is_first():
    predictions = [make_prediction(model, value) for model, value in (("a", 50), ("b", 70), ("c", 50))]
    assert [prediction.model for prediction in rank_predictions(predictions)] == ["b", "a", "c"]


def test_a_warning_stands_in_every_file(tmp_path):
    for path in write_predictions(tmp_path, "a", [make_prediction("model_1", 60)], warning=WARNING):
        text = path.read_text()
        if path.suffix == ".json":
            assert json.loads(text)["warning"] == WARNING
        elif path.suffix == ".cif":
            block = gemmi.cif.read_string(text).sole_block()
            assert gemmi.cif.as_string(block.find_value("_struct.pdbx_model_details")) == WARNING
        else:
            remarks = [line[11:].strip() for line in text.splitlines() if line.startswith("REMARK")]
            assert len(remarks) > 1 and " ".join(remarks) == WARNING
    without = write_predictions(tmp_path, "b", [make_prediction("model_1", 60)])
    assert not any("warning" in path.read_text() or "REMARK" in path.read_text() for path in without)


@pytest.mark.parametrize("value, words", [(np.nan, "finite"), (np.inf, "finite"), (20_000, "coordinates")])
def test_an_overflow_writes_nothing(tmp_path, value, words):
    good, bad = make_prediction("model_1", 80), make_prediction("model_2", 40)
    bad.structure.positions[0, 0] = value
    with pytest.raises(InputError, match=words):
        write_predictions(tmp_path, "a", [good, bad])
    assert not list(tmp_path.iterdir())


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    written = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths = write_predictions(tmp_path / name, "a", [make_prediction("model_1", 60)], warning=WARNING)
        written.append([(path.name, path.read_bytes()) for path in paths])
    assert written[0] == written[1]
