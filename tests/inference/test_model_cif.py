import io
from dataclasses import replace

import gemmi
import numpy as np
import pytest
from biotite.structure.io.pdbx import CIFFile, get_structure

from chaperonin.errors import InputError
from chaperonin.inference.model_cif import write_modelcif
from chaperonin.protein.atoms import ATOM37_MASK, RESIDUES
from chaperonin.protein.structure import Structure, read_structure

MINIMUM = (
    "_entity", "_entity_poly", "_struct_asym", "_atom_site", "_ma_qa_metric", "_ma_qa_metric_global",
    "_ma_qa_metric_local", "_ma_software_group", "_ma_model_list", "_ma_protocol_step", "_ma_target_entity",
)  # fmt: skip


def make_structure(sequence: str = "MKVWLR") -> Structure:
    generator = np.random.default_rng(0)
    aatype = np.array([(RESIDUES + "X").index(letter) for letter in sequence], np.int64)
    mask = ATOM37_MASK[aatype].astype(bool)
    positions = np.where(mask[..., None], generator.normal(0, 30, (*mask.shape, 3)), 0).round(3)
    length = len(sequence)
    confidence = generator.uniform(0, 100, length).round(2).astype(np.float32)
    chain_ids = np.full(length, "A")
    return Structure(
        aatype, np.arange(1, length + 1), positions.astype(np.float32), mask, confidence, chain_ids
    )


@pytest.mark.filterwarnings("ignore:Attribute 'auth_")  # optional fields that modelcif leaves out
@pytest.mark.parametrize("name", ["1o1z.cif.gz", "5eil.cif.gz", "8tim.pdb.gz", "T1026.pdb.gz"])
def test_biotite_and_gemmi_read_back_what_is_written(real_data, name):
    structure = read_structure(real_data / "structures/experimental" / name)
    text = write_modelcif(structure, name)
    atoms = structure.atoms()
    by_biotite = get_structure(CIFFile.read(io.StringIO(text)), model=1, extra_fields=["b_factor"])
    np.testing.assert_allclose(by_biotite.coord, atoms.coord, atol=1e-3)
    np.testing.assert_allclose(by_biotite.b_factor, atoms.b_factor, atol=1e-2)
    for annotation in ("atom_name", "res_name", "res_id", "element"):
        np.testing.assert_array_equal(by_biotite.get_annotation(annotation), atoms.get_annotation(annotation))
    by_gemmi = gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())
    assert by_gemmi[0].count_atom_sites() == len(atoms)
    assert [len(chain) for chain in by_gemmi[0]] == [
        (structure.chain_ids == c).sum() for c in structure.chains
    ]


def test_what_is_written_is_read_back(tmp_path):
    structure = make_structure("MKVWLG")
    path = tmp_path / "file.cif"
    path.write_text(write_modelcif(structure, 'it\'s a "title"\n_with; everything'))
    read = read_structure(path)
    assert read.sequence == structure.sequence
    np.testing.assert_array_equal(read.residue_index, structure.residue_index)
    np.testing.assert_array_equal(read.atom_mask, structure.atom_mask)
    np.testing.assert_allclose(read.positions, structure.positions, atol=1e-3)
    np.testing.assert_allclose(read.confidence, structure.confidence, atol=1e-2)


def test_confidence_is_data():
    structure = make_structure()
    text = write_modelcif(
        structure, "one", software={"chaperonin": "1.2"}, details="random weights", ptm=0.43219
    )
    block = gemmi.cif.read_string(text).sole_block()
    assert set(MINIMUM) <= {name.rstrip(".") for name in block.get_mmcif_category_names()}
    local = block.get_mmcif_category("_ma_qa_metric_local")
    np.testing.assert_allclose(np.array(local["metric_value"], float), structure.confidence, atol=0.006)
    assert [int(number) for number in local["label_seq_id"]] == [1, 2, 3, 4, 5, 6]
    metrics = block.get_mmcif_category("_ma_qa_metric")
    assert list(zip(metrics["name"], metrics["mode"], strict=True)) == [
        ("pLDDT", "global"), ("pTM", "global"), ("pLDDT", "local"),
    ]  # fmt: skip
    values = [float(value) for value in block.get_mmcif_category("_ma_qa_metric_global")["metric_value"]]
    assert values == pytest.approx([structure.confidence.mean(), 0.4322], abs=0.006)
    assert block.find_value("_struct.pdbx_model_details") == "'random weights'"
    assert block.get_mmcif_category("_software")["version"] == ["1.2"]


def test_chains_of_one_sequence_are_one_entity():
    one = make_structure("MK")
    three = one.keep(np.array([0, 1, 0, 1, 0]))
    three = replace(three, chain_ids=np.array(list("AABBC")), residue_index=np.array([1, 2, 1, 2, 1]))
    block = gemmi.cif.read_string(write_modelcif(three, "three")).sole_block()
    assert block.get_mmcif_category("_struct_asym")["entity_id"] == ["1", "1", "2"]


def test_unknown_residues_keep_their_place(tmp_path):
    path = tmp_path / "file.cif"
    path.write_text(write_modelcif(make_structure("MXK"), "unknown"))
    assert read_structure(path).residue_index.tolist() == [1, 3]
    entity = gemmi.read_structure(str(path)).entities[0]
    assert list(entity.full_sequence) == ["MET", "UNK", "LYS"]


def test_what_is_no_prediction_is_refused():
    structure = make_structure()
    with pytest.raises(InputError, match="finite"):
        write_modelcif(replace(structure, confidence=np.full(6, np.nan, np.float32)), "bad")
    with pytest.raises(InputError, match="without atoms"):
        write_modelcif(make_structure("XX"), "empty")
