from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from chaperonin.data.feature_file import read_features
from chaperonin.errors import InputError
from chaperonin.protein.alignment import read_a3m
from chaperonin.protein.atoms import RESIDUES

HHBLITS = "ACDEFGHIKLMNPQRSTVWYX-"
ROWS = ["ACDWX", "A-DYX", "RNDCQ"]
DELETIONS = np.array([[0] * 5, [0, 2, 0, 0, 1], [0, 0, 0, 7, 0]], np.int32)


def published(**changes: Any) -> dict[str, NDArray[Any]]:
    """Features as AlphaFold's pipeline writes them, of three sequences and two templates."""
    template = np.array([[HHBLITS.index(letter) for letter in row] for row in ("AC--W", "-----")])
    mask = np.zeros((2, 5, 37), np.float32)
    mask[0, [0, 1, 4]] = 1
    features = {
        "aatype": np.eye(21, dtype=np.int32)[[(RESIDUES + "X").index(letter) for letter in ROWS[0]]],
        "residue_index": np.arange(5, dtype=np.int32),
        "sequence": np.array(["ACDWX"]),
        "domain_name": np.array(["a protein"]),
        "msa": np.array([[HHBLITS.index(letter) for letter in row] for row in ROWS], np.int32),
        "deletion_matrix_int": DELETIONS,
        "template_aatype": np.eye(22, dtype=np.float32)[template],
        "template_all_atom_positions": np.arange(2 * 5 * 37 * 3, dtype=np.float32).reshape(2, 5, 37, 3),
        "template_all_atom_masks": mask,
        **changes,
    }
    return {key: value for key, value in features.items() if value is not None}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "features.npz"
    np.savez(path, **published(**changes))
    return path


def test_features_become_the_alignment_they_were_made_of(tmp_path: Path) -> None:
    read = read_features(written(tmp_path))
    same = read_a3m(">q\nACDWX\n>r\nAaa-DYxX\n>s\nRNDabcdefgCQ\n")
    np.testing.assert_array_equal(read.alignment.residues, same.residues)
    np.testing.assert_array_equal(read.alignment.deletions, DELETIONS)
    assert read.alignment.query == "ACDWX"
    assert read.alignment.names == ("a protein", "row 1", "row 2")
    assert read.residue_index.tolist() == [0, 1, 2, 3, 4]


def test_templates_have_their_residues_in_alphafolds_order(tmp_path: Path) -> None:
    templates = read_features(written(tmp_path)).templates
    assert templates is not None
    assert templates.aatype.tolist() == [[0, 4, 21, 21, 17], [21] * 5]
    assert templates.positions.shape == (2, 5, 37, 3)
    assert not templates.positions[templates.atom_mask == 0].any()
    assert templates.positions[0, 1, 0].tolist() == [111, 112, 113]
    assert templates.mask.tolist() == [1, 1]


def test_only_the_first_templates_are_read(tmp_path: Path) -> None:
    templates = read_features(written(tmp_path), most=1).templates
    assert templates is not None and len(templates.aatype) == 1


@pytest.mark.parametrize("missing", ["sequence", "residue_index", "domain_name"])
def test_what_can_be_known_without_a_key_is(tmp_path: Path, missing: str) -> None:
    whole, read = read_features(written(tmp_path)), read_features(written(tmp_path, **{missing: None}))
    assert read.alignment.query == whole.alignment.query
    np.testing.assert_array_equal(read.residue_index, whole.residue_index)


def test_residues_as_numbers_and_openfolds_name_of_the_mask_are_read(tmp_path: Path) -> None:
    whole = published()
    mask = whole["template_all_atom_masks"]
    path = written(
        tmp_path,
        aatype=whole["aatype"].argmax(-1),
        template_aatype=whole["template_aatype"].argmax(-1),
        template_all_atom_masks=None,
        template_all_atom_mask=mask,
    )
    read = read_features(path)
    assert read.alignment.query == "ACDWX"
    assert read.templates is not None
    assert read.templates.aatype.tolist()[0] == [0, 4, 21, 21, 17]
    torch.testing.assert_close(read.templates.atom_mask, torch.from_numpy(mask))


def test_a_file_without_templates_has_none(tmp_path: Path) -> None:
    assert read_features(written(tmp_path, template_aatype=None)).templates is None
    none = {key: value[:0] for key, value in published().items() if key.startswith("template")}
    assert read_features(written(tmp_path, **none)).templates is None


def test_python_objects_stay_closed(tmp_path: Path) -> None:
    objects = np.array([b"ACDWX"], dtype=object)
    assert read_features(written(tmp_path, sequence=objects)).alignment.query == "ACDWX"
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        read_features(written(tmp_path, msa=published()["msa"].astype(object)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"msa": None}, "no msa"),
        ({"aatype": None}, "no aatype"),
        ({"deletion_matrix_int": None}, "no deletion_matrix_int"),
        ({"template_all_atom_masks": None}, "no template_all_atom_mask"),
        ({"aatype": np.zeros((0, 21))}, "aatype does not fit"),
        ({"aatype": np.full(5, 30)}, "aatype does not fit: expected numbers from 0 to 20"),
        ({"msa": np.full((3, 5), 22)}, "msa does not fit: expected numbers from 0 to 21"),
        ({"msa": np.zeros((3, 4), int)}, "msa does not fit: expected sequences of 5"),
        ({"msa": np.zeros((0, 5), int)}, "msa does not fit"),
        ({"msa": np.array(["a"])}, "msa does not fit: expected finite numbers"),
        ({"deletion_matrix_int": DELETIONS[:2]}, "deletion_matrix_int does not fit"),
        ({"deletion_matrix_int": -DELETIONS}, "deletion_matrix_int does not fit"),
        ({"residue_index": np.arange(4)}, "residue_index does not fit"),
        ({"sequence": np.array(["ACDWY"])}, "sequence does not fit: expected the residues of aatype"),
        (
            {"template_all_atom_positions": np.zeros((2, 5, 37, 2))},
            "template_all_atom_positions does not fit",
        ),
        ({"template_all_atom_positions": np.full((2, 5, 37, 3), np.nan)}, "expected finite numbers"),
        ({"template_all_atom_masks": np.zeros((2, 5, 36))}, "template_all_atom_masks does not fit"),
        ({"template_aatype": np.zeros((2, 4, 22))}, "template_aatype does not fit"),
    ],
)
def test_a_key_that_is_missing_or_does_not_fit_is_named(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        read_features(written(tmp_path, **changes))
    assert refused.value.where == "features.npz"
    assert refused.value.advice


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path).read_bytes()
    for name, content in {
        "cut.npz": whole[: len(whole) // 2],
        "text.npz": b"hello",
        "empty.npz": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a readable"):
            read_features(tmp_path / name)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match="one array"):
        read_features(tmp_path / "one.npy")
    with pytest.raises(InputError, match="cannot be read"):
        read_features(tmp_path / "absent.npz")


@pytest.mark.parametrize("name", ["T1026", "openfold_4ot59"])
def test_real_features_agree_with_the_alignment_and_the_template_sequences(
    real_data: Path, name: str
) -> None:
    folder = real_data / "structures/msa" / name
    read = read_features(folder / "features.npz")
    same = read_a3m(folder / "msa.a3m.gz", read.alignment.query)
    np.testing.assert_array_equal(read.alignment.residues, same.residues)
    np.testing.assert_array_equal(read.alignment.deletions, same.deletions)
    with np.load(folder / "features.npz") as opened:
        sequences = opened["template_sequence"][:4]
    assert read.templates is not None
    expected = [[(RESIDUES + "X-").index(letter) for letter in sequence] for sequence in sequences]
    assert read.templates.aatype.tolist() == expected
